"""Networks that cut, lose, delay and damage: F-44 to F-53."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.faults.edge import AUTH, HOST, Crowd
from tests.faults.harness import FaultHarness
from tests.faults.injection import call, rule
from tests.faults.rows import Row, Rows, row
from tests.integration.fleet import PATIENCE, eventually
from tests.integration.proxy import Faults
from tests.integration.recorded_fleet import BOUND

IPTABLES = ("namespace", "iptables")


def _there(fleet: FaultHarness) -> tuple[str, ...]:
    """Packets from agents to the controller."""
    return ("-p", "tcp", "--dport", str(fleet.proxies[0].port))


def _back(fleet: FaultHarness) -> tuple[str, ...]:
    """Packets from the controller to agents."""
    return ("-p", "tcp", "--sport", str(fleet.proxies[0].port))


def _partition(fleet: FaultHarness, *ways: Callable[[FaultHarness], tuple[str, ...]]) -> None:
    fleet.begin()
    with ExitStack() as stack:
        for way in ways:
            stack.enter_context(rule(*way(fleet), "-j", "DROP"))
        for _ in range(8):
            fleet.publish()
            time.sleep(1)
    fleet.publish()
    fleet.converges(BOUND)


ROWS = Rows(
    Row(
        f"{number} {strategy}", f"{title} ({strategy.title()})", "iptables DROP for 8 s",
        "converges in 12.4 s; never back", run, needs=IPTABLES, strategy=strategy,
    )
    for strategy in ("POLLER", "STREAM")
    for number, title, run in (
        ("F-44", "partition agent - controller", lambda fleet: _partition(fleet, _there, _back)),
        ("F-52", "one-way partition, answers lost", lambda fleet: _partition(fleet, _back)),
    )
)  # fmt: skip


@row(
    "F-45",
    "half-open stream",
    "iptables DROP of the one connection that is open, for good",
    "a new one in 35 s",
    needs=IPTABLES,
    strategy="STREAM",
)
def half_open(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.until_path("STREAM")
    ports = _ports_to(fleet.proxies[0].port)
    assert ports
    rules = [rule("-p", "tcp", "--sport", each, "--dport", str(fleet.proxies[0].port), "-j", "DROP") for each in ports]
    rules += [rule("-p", "tcp", "--dport", each, "--sport", str(fleet.proxies[0].port), "-j", "DROP") for each in ports]
    with ExitStack() as stack:
        for each in rules:
            stack.enter_context(each)
        fleet.publish(600)
        with fleet.recovers(37, "noticed"):
            newest = fleet.history.newest()
            fleet.until(lambda: fleet.history.current(fleet.only) == newest, "on the newest", 60)
    fleet.converges(BOUND)


def _ports_to(port: int) -> list[str]:
    """The local ports of connections to a port that are open."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    found = [(row[1], row[2], row[3]) for row in rows]
    return [
        str(int(a.partition(":")[2], 16))
        for a, b, state in found
        if int(b.partition(":")[2], 16) == port and state == "01"
    ]


@row(
    "F-46",
    "half-open, seen by the controller",
    "50 streams whose peers vanish behind iptables DROP",
    "streams left after 60 s: 0",
    agents=0,
    needs=IPTABLES,
)
def half_open_readers(fleet: FaultHarness) -> None:
    fleet.begin()
    port = str(fleet.daemons.port)
    with Crowd(fleet.daemons.port) as crowd:
        crowd.connect(50, b"GET /api/v1/stream HTTP/1.1\r\n" + HOST + AUTH + b"\r\n")
        eventually(lambda: fleet.total("confd_stream_readers") == 50)
        with (
            rule("-s", "127.0.0.20/31", "-p", "tcp", "--dport", port, "-j", "DROP"),
            rule("-d", "127.0.0.20/31", "-p", "tcp", "--sport", port, "-j", "DROP"),
        ):
            for number in range(5):
                fleet.daemons.publish({"url": "http://127.0.0.1/", "n": number, "pad": "x" * 60_000})
            with fleet.recovers(60, "no stream is left"):
                eventually(lambda: fleet.total("confd_stream_readers") == 0, 90)


@row(
    "F-47",
    "connections reset",
    "proxy resets all, and new ones, at random moments",
    "half a document applied 0; converges",
    quick=True,
)
def reset(fleet: FaultHarness) -> None:
    fleet.begin()
    proxy = fleet.proxies[0]
    for _ in range(10):
        fleet.publish()
        proxy.refuses = not proxy.refuses
        time.sleep(fleet.random.uniform(0, 0.4))
        proxy.drop()
    proxy.heal()
    fleet.converges(BOUND)


@row(
    "F-47 rst",
    "connections refused by a firewall",
    "iptables REJECT --reject-with tcp-reset for 5 s",
    "converges",
    needs=IPTABLES,
    strategy="STREAM",
)
def rejected(fleet: FaultHarness) -> None:
    fleet.begin()
    with rule(*_there(fleet), "-j", "REJECT", "--reject-with", "tcp-reset"):
        for _ in range(5):
            fleet.publish()
            time.sleep(1)
    fleet.converges(BOUND)


@row("F-48", "30 % of packets lost", "iptables -m statistic, both ways", "converges in 25 s each time", needs=IPTABLES)
def lossy(fleet: FaultHarness) -> None:
    fleet.begin()
    share = ("-m", "statistic", "--mode", "random", "--probability", "0.3", "-j", "DROP")
    with rule(*_there(fleet), *share), rule(*_back(fleet), *share):
        for _ in range(4):
            fleet.publish()
            fleet.converges(BOUND * 2)
    fleet.converges(BOUND)


@row("F-49", "latency and jitter", "proxy: each piece 0 to 300 ms late", "converges in time")
def late(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.proxies[0].faults = Faults(delay=1.0)
    for _ in range(4):
        fleet.publish()
        fleet.converges(BOUND)


@row("F-50", "1 Mbit/s", "tc qdisc tbf on loopback, documents of 60 kB", "converges in time", needs=("namespace", "tc"))
def narrow(fleet: FaultHarness) -> None:
    fleet.begin()
    call("tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "100kb", "latency", "2s")
    try:
        for _ in range(4):
            fleet.publish()
            fleet.converges(BOUND)
    finally:
        call("tc", "qdisc", "del", "dev", "lo", "root")


def _trickle(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.proxies[0].faults = Faults(rate=60_000)
    fleet.claim(fleet.post(pad="x" * 900_000).status == 200, "a large document is published")
    # A third of the link is enough: the stream and the polls share it.
    fleet.converges(45)
    fleet.proxies[0].heal()
    fleet.publish()
    fleet.converges(BOUND)


SLOW = Rows(
    Row(
        f"F-69 {strategy}", f"a slow link ({strategy.title()})", "proxy: 60 kB/s in all, a document of 900 kB",
        "converges in 45 s", _trickle, strategy=strategy,
    )
    for strategy in ("POLLER", "STREAM")
)  # fmt: skip


@row("F-51", "bytes damaged on the way", "proxy turns one bit over in half of the answers", "applied 0")
def damaged(fleet: FaultHarness) -> None:
    fleet.begin()
    proxy = fleet.proxies[0]
    proxy.faults = Faults(flip=0.5)
    for _ in range(25):
        fleet.publish(1)
        time.sleep(0.3)
    fleet.claim(proxy.harmed, "answers were harmed")
    proxy.heal()
    fleet.converges(BOUND)


@row(
    "F-51 cut",
    "answers in small pieces, broken off",
    "proxy: pieces of 1 to 64 bytes, 10 % broken off",
    "half a document applied 0",
)
def in_pieces(fleet: FaultHarness) -> None:
    fleet.begin()
    proxy = fleet.proxies[0]
    proxy.faults = Faults(drop=0.1, cut=True)
    for _ in range(20):
        fleet.publish(1)
        time.sleep(0.2)
    proxy.heal()
    fleet.converges(BOUND)


@row(
    "F-53",
    "name of the controller cannot be resolved",
    "a hosts file without it; then with it",
    "converges in 30 s once it can",
    needs=("namespace",),
)
def nameless(fleet: FaultHarness) -> None:
    hosts = fleet.folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    call("mount", "--bind", str(hosts), "/etc/hosts")
    try:
        agent = fleet.agents[fleet.only]
        place = agent.arguments.index("--controller-url", agent.arguments.index("--controller-url") + 1) + 1
        agent.arguments[place] = f"http://controller.invalid:{fleet.proxies[0].port}"
        # With built-in passwords a controller answers to no other name.
        fleet.controller.arguments += ["--allowed-hosts", "controller.invalid"]
        fleet.start_controller()
        fleet.start_agents()
        fleet.publish()
        fleet.until(lambda: "controller.invalid" in agent.log, "said", PATIENCE)
        hosts.write_text("127.0.0.1 localhost controller.invalid\n")
        fleet.converges(30)
        hosts.write_text("127.0.0.1 localhost\n")
        fleet.proxies[0].drop()
        fleet.publish()
        time.sleep(5)
        hosts.write_text("127.0.0.1 localhost controller.invalid\n")
        fleet.converges(30)
    finally:
        call("umount", "--lazy", "/etc/hosts")
