"""Names and addresses as platforms and people write them: F-42, F-53 and F-66."""

from __future__ import annotations

import signal

from tests.faults.harness import FaultHarness
from tests.faults.injection import call
from tests.faults.rows import Rows, row
from tests.integration.fleet import ADMIN, PATIENCE, base_of, request
from tests.integration.recorded_fleet import BOUND
from tests.integration.test_addresses import ipv6_fleet

#: URLs that no worker fetches, and URLs that look like them and are good.
BAD = (
    "http://user:pw@h/", "http://user@h/", "http://@h/", "http://h:99999/", "http://h:0/", "http://h:/", "http://h:8o/",
    "http://bücher.example/", "http://h/ü", "http://[::1/", "http://::1/", "http://[::1%25lo]/", "http://[1.2.3.4]/",
    "http://a..b/", "http://.a/", "http://" + "a" * 64 + "/", "http://a b/", "http://a\\b/", "http://%61/", "http:/a/",
    "http://", "http:///a", "//h/", "file:///etc/passwd", "http://h/" + "p" * 2040,
)  # fmt: skip
GOOD = (
    "http://ctl_1:8080/", "http://[::1]:8082/a?b#c", "HTTP://H./", "http://xn--bcher-kva.example/%C3%BC",
    "https://h:65535", "http://h?q=@:99999", "http://h/u:p@x", "http://h/" + "p" * 2039,
)  # fmt: skip


@row(
    "F-42 urls",
    "documents whose URL no worker would fetch",
    "25 URLs, and 8 that look like them and are good",
    "controller and worker refuse the same; good ones are applied",
    agents=0,
    quick=True,
)
def urls(fleet: FaultHarness) -> None:
    fleet.start_controller()
    worker = fleet.daemons.worker().start()
    strange = fleet.daemons.worker("stranger").start()
    fleet.daemons.agent(worker).start()
    for url in BAD:
        answer = fleet.daemons.publish({"url": url})
        fleet.claim(answer.status == 422 and answer.json()["details"][0]["pointer"] == "/url", f"{url}: {answer}")
        answer = request("POST", f"{base_of(strange)}/config", {"url": url})
        fleet.claim(answer.status in (400, 422), f"{url} at a worker: {answer}")
    for url in GOOD:
        answer = fleet.daemons.publish({"url": url})
        fleet.claim(answer.status == 200, f"{url}: {answer}")
        answer = request("POST", f"{base_of(strange)}/config", {"url": url})
        fleet.claim(answer.status == 200, f"{url} at a worker: {answer}")
    last = fleet.daemons.current()["checksum"]
    fleet.until(lambda: request("GET", f"{base_of(worker)}/config").json().get("checksum") == last, "applied", BOUND)


def _underscores(fleet: FaultHarness) -> None:
    hosts = fleet.folder / "hosts"
    names = "127.0.0.1 localhost ctl_1 stack_broker worker_1\n"
    hosts.write_text(names)
    call("mount", "--bind", str(hosts), "/etc/hosts")
    try:
        agent, broker = fleet.agents[fleet.only], fleet.broker
        assert broker is not None
        worker = agent.arguments[agent.arguments.index("--worker-url") + 1].replace("127.0.0.1", "worker_1")
        agent.arguments += ["--controller-url", f"http://ctl_1:{fleet.proxies[0].port}", "--worker-url", worker]
        for process, port in ((agent, fleet.proxies[1].port), (fleet.controller, broker.server.port)):
            process.arguments += [each.replace("127.0.0.1", "stack_broker") for each in broker.options(port)]
        broker.server.start()
        fleet.begin()
        fleet.until_path(fleet.strategy)
        fleet.publish()
        fleet.converges(BOUND)
        hosts.write_text(names.replace("127.0.0.1", "127.0.0.9"))
        broker.server.restart()
        for proxy in fleet.proxies:
            proxy.drop()
        hosts.write_text(names)
        fleet.until_path(fleet.strategy)
        fleet.publish()
        fleet.converges(BOUND)
    finally:
        call("umount", "--lazy", "/etc/hosts")


underscores = Rows(
    row(
        f"F-53 {strategy}",
        f"host names with underscores ({strategy.capitalize()})",
        "a hosts file with ctl_1, stack_broker and worker_1",
        "converges by push; again after the names led elsewhere",
        strategy=strategy,
        options=("--allowed-hosts", "ctl_1"),
        needs=("namespace",),
    )(_underscores)
    for strategy in ("REDIS", "NATS")
)


@row(
    "F-66 IPv6",
    "a fleet on IPv6 literals",
    "controller, agent and worker on ::1; the controller is killed",
    "a change arrives in 5 s; after the kill, too",
    agents=0,
    needs=("ipv6",),
)
def ipv6(fleet: FaultHarness) -> None:
    controller, agent, worker = processes = ipv6_fleet(fleet.daemons)
    agent.arguments += ["--distribution-strategy", "STREAM", "--backoff-max", "1"]
    for each in processes:
        each.start()
    url, fetched = base_of(controller), f"{base_of(worker)}/hit"
    for path, expected in (("/health", b'{"status":"ok"}'), ("/ready", b'{"status":"ready"')):
        answer = request("POST", f"{url}/api/v1/config", {"url": f"{url}{path}"}, ADMIN)
        fleet.claim(answer.status == 200, f"published: {answer}")
        fleet.awaits(lambda whole=expected: request("GET", fetched).body.startswith(whole), 5, f"{path} is fetched")
        controller.stop(signal.SIGKILL)
        controller.start()
        fleet.until(lambda: fleet.ready(agent).status == 200, "ready", PATIENCE)


@row(
    "F-66 links",
    "service links of Kubernetes and Docker",
    "variables of services called as roles, brokers and settings; settings with the prefix CONFD_",
    "each role starts, and reads the prefixed names",
    agents=0,
)
def links(fleet: FaultHarness) -> None:
    environ = {}
    for name in ("WORKER", "CONTROLLER", "AGENT", "REDIS", "NATS", "CONFD", "CONFD_WORKER", "LISTEN", "DB", "PORT"):
        environ |= {
            f"{name}_SERVICE_HOST": "10.0.0.1",
            f"{name}_SERVICE_PORT": "8082",
            f"{name}_PORT": "tcp://10.0.0.1:8082",
            f"{name}_PORT_8082_TCP": "tcp://10.0.0.1:8082",
            f"{name}_PORT_8082_TCP_ADDR": "10.0.0.1",
            f"{name}_PORT_8082_TCP_PORT": "8082",
            f"{name}_PORT_8082_TCP_PROTO": "tcp",
        }
    worker = fleet.daemons.worker()
    agent = fleet.daemons.agent(worker, ops=True)
    for process in (fleet.controller, worker, agent):
        # The options become variables with the prefix, beside bare names that another program has.
        options = process.arguments[1:]
        given = {
            name[2:].upper().replace("-", "_"): text for name, text in zip(options[::2], options[1::2], strict=True)
        }
        process.environ |= environ | dict.fromkeys(given, "of another program")
        process.environ |= {f"CONFD_{name}": text for name, text in given.items()}
        process.arguments = process.arguments[:1]
        process.start()
    fleet.daemons.publish({"url": f"{fleet.daemons.url}/health"})
    fleet.until(lambda: request("GET", f"{base_of(worker)}/hit").status == 200, "fetched", BOUND)
