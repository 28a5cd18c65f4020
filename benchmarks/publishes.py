"""
How many publishes a second reach the disk, with one writer and with 32?

Beside it: puts of one key through etcd's JSON gateway, on the same disk. Run it with C{python -m benchmarks.publishes}.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contest import (
    DOCUMENT,
    authorization,
    columns,
    contest,
    controller,
    encoded,
    etcd,
    etcd_call,
    lacking,
    posting,
    ratio,
)
from benchmarks.findings import Bar, Finding, Scale, main
from benchmarks.load import Target
from benchmarks.plots import Chart
from tests.integration.fleet import ADMIN

WRITERS = (1, 32)


@contextmanager
def confd() -> Iterator[Target]:
    """Run a controller that takes one document after the other."""
    with controller() as fleet:
        pid = fleet.processes[0].pid
        yield posting(f"{fleet.url}/api/v1/config", pid, DOCUMENT, authorization(ADMIN))


@contextmanager
def a_key() -> Iterator[Target]:
    """Run etcd with one key."""
    with etcd() as server:
        yield etcd_call(server, "put", value=encoded(DOCUMENT))


def measure(scale: Scale) -> Finding:
    """Measure with each number of writers."""
    makers = {"confd": confd, "etcd": a_key}
    found = {writers: contest(makers, writers, scale) for writers in WRITERS}
    return Finding(
        "publishes",
        "Durable publishes",
        [row for writers, rates in found.items() for row in columns(rates, writers=writers)],
        [
            Bar(f"confd by etcd's JSON gateway, {WRITERS[-1]} writers", ratio(found[WRITERS[-1]], "etcd"), 0.75),
            Bar(f"µs of processor time, {WRITERS[-1]} writers", found[WRITERS[-1]]["confd"].cpu, 150, least=False),
        ],
        [
            Chart(f"Publishes per second, {writers} writers", [(name, rate.second) for name, rate in rates.items()])
            for writers, rates in found.items()
        ],
        lacking(list(makers)),
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
