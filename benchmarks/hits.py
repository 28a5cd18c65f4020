"""
How many C{/hit} does a worker answer on one core, and how much latency does it add to the fetched server?

Beside it: nginx's C{proxy_pass} in front of the same server. Latency is measured at a fixed rate, half of the target:
each request is due at its time, even if earlier requests are late. Run it with C{python -m benchmarks.hits}.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.contest import columns, contest, lacking, middle, nginx, scratch
from benchmarks.findings import Bar, Finding, Scale, main, say
from benchmarks.host import on_core
from benchmarks.load import Rate, Target, at_a_rate
from benchmarks.plots import Chart
from tests.integration.fleet import Fleet, base_of, request
from tests.integration.servers import missing

CONNECTIONS = 64

#: Requests a second for the measurement of latency.
RATE = 750


@contextmanager
def upstream() -> Iterator[Target]:
    """Run the fetched server: a file of nginx."""
    with nginx() as server:
        yield Target(f"http://127.0.0.1:{server.port}/config.json", server.worker)


@contextmanager
def worker() -> Iterator[Target]:
    """Run a worker that fetches the file."""
    with upstream() as behind, scratch() as folder:
        fleet = Fleet(folder)
        process = fleet.worker()
        try:
            with on_core(0):
                process.start()
            request("POST", f"{base_of(process)}/config", {"url": behind.url})
            yield Target(f"{base_of(process)}/hit", process.pid)
        finally:
            fleet.close()


@contextmanager
def proxy() -> Iterator[Target]:
    """Run an nginx that proxies to the file."""
    with upstream() as behind, nginx(int(behind.url.split(":")[2].partition("/")[0])) as server:
        yield Target(f"http://127.0.0.1:{server.port}/proxy/config.json", server.worker)


def latency(scale: Scale) -> dict[str, Rate]:
    """Measure the latency of each server at the same rate, in turn."""
    found: dict[str, list[Rate]] = {}
    with ExitStack() as stack:
        targets = {
            "directly": stack.enter_context(upstream()),
            "confd": stack.enter_context(worker()),
            "nginx": stack.enter_context(proxy()),
        }
        for number in range(scale.times):
            for name, target in targets.items():
                with on_core(-1):
                    found.setdefault(name, []).append(at_a_rate(target, RATE, CONNECTIONS, scale.seconds))
            say(f"  latency at {RATE}/s, {number + 1} of {scale.times}")
    return {name: middle(rates) for name, rates in found.items()}


def measure(scale: Scale) -> Finding:
    """
    Measure the rates and the latency of all installed servers.

    @raise FileNotFoundError: without nginx, whose file the worker fetches.
    """
    if missing("nginx") is not None:
        raise FileNotFoundError("this fetches from nginx, which is not on PATH (Debian: apt install nginx-light)")
    found = contest({"confd": worker, "nginx": proxy}, CONNECTIONS, scale)
    late = latency(scale)
    added = {name: late[name].p99 - late["directly"].p99 for name in found}
    return Finding(
        "hits",
        "Requests through a worker, and the latency that the worker adds",
        columns(found, load="closed loop") + columns(late, load=f"{RATE} a second"),
        [
            Bar("/hit per second", found["confd"].second, 4500),
            Bar("µs of processor time per /hit", found["confd"].cpu, 220, least=False),
            Bar("p99 that confd adds, ms", added["confd"], 10, least=False),
        ],
        [
            Chart("Requests per second", [(name, rate.second) for name, rate in found.items()]),
            Chart("p99 that is added, ms", list(added.items())),
        ],
        lacking(["nginx"]),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
