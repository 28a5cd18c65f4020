"""
How many agents register in a second, each on disk before its answer?

Run it with C{python -m benchmarks.registrations}.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contest import authorization, columns, contest, controller, posting
from benchmarks.findings import Bar, Finding, Scale, main
from benchmarks.load import Target
from benchmarks.plots import Chart
from tests.integration.fleet import AGENT

CONNECTIONS = 64


@contextmanager
def confd() -> Iterator[Target]:
    """Run a controller at which new agents register."""
    with controller() as fleet:
        body = {"hostname": "bench", "metadata": "tier=edge", "strategy": "STREAM"}
        yield posting(f"{fleet.url}/api/v1/register", fleet.processes[0].pid, body, authorization(AGENT))


def measure(scale: Scale) -> Finding:
    """Measure the registrations a second."""
    found = contest({"confd": confd}, CONNECTIONS, scale)
    return Finding(
        "registrations",
        "Durable registrations",
        columns(found),
        [Bar("registrations per second", found["confd"].second, 2000)],
        [Chart("Registrations per second", [(name, rate.second) for name, rate in found.items()])],
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
