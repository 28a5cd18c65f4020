"""
Inject every fault of the suite into real processes, and check the history of each run.

Run the suite with C{make test-faults} or C{python -m tests.faults}. As root it makes a network and mounts of its own,
which end with it; without root it skips the rows that need them, and says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.faults import (
    addresses,
    announcers,
    bad_answers,
    broker,
    clocks,
    controllers,
    corpora,
    damage,
    deliveries,
    edge,
    feeds,
    fleets,
    network,
    outputs,
    postgres,
    processes,
    releases,
    rollouts,
    sharing,
    storage,
    upstream,
)
from tests.faults.rows import Outcome, Row, rows_of
from tests.faults.run import Suite
from tests.faults.table import Table

MODULES = (
    storage,
    damage,
    processes,
    broker,
    edge,
    corpora,
    upstream,
    network,
    clocks,
    fleets,
    bad_answers,
    addresses,
    outputs,
    rollouts,
    postgres,
    controllers,
    feeds,
    releases,
    sharing,
    announcers,
    deliveries,
)


def inside(arguments: list[str]) -> int | None:
    """
    Run the suite again in a network with only loopback, and with private mounts.

    @return: the exit status; C{None} where such a network is not available.
    """
    unshare = ["unshare", "--net", "--mount", "--propagation", "private", "--"]
    if os.environ.get("CONFD_FAULTS_INSIDE") or not (shutil.which("unshare") and shutil.which("ip")):
        return None
    if subprocess.run([*unshare, "ip", "link", "set", "lo", "up"], capture_output=True).returncode:
        return None
    command = [*unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    environ = os.environ | {"CONFD_FAULTS_INSIDE": "1"}
    return subprocess.run([*command, sys.executable, "-m", "tests.faults", *arguments], env=environ).returncode


def chosen(rows: list[Row], names: str, quick: bool) -> list[Row]:
    """Return the rows that the options select."""
    wanted = [each for each in names.split(",") if each]
    unknown = [each for each in wanted if not any(row.id.startswith(each) for row in rows)]
    if unknown:
        raise SystemExit(f"no row is called {', '.join(unknown)}; --list names them")
    found = [
        each for each in rows if not wanted or any(each.id == name or each.id.startswith(f"{name} ") for name in wanted)
    ]
    return [each for each in found if each.quick or not quick]


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="rows to run, a comma list; by default all")
    parser.add_argument("--rounds", type=float, default=1.0, help="multiply the rounds of each row by this factor (1)")
    parser.add_argument("--slack", type=float, default=1.0, help="multiply the limits in seconds by this factor (1)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="seed of all random choices")
    parser.add_argument("--quick", action="store_true", help="run only the rows that make test runs")
    parser.add_argument("--list", action="store_true", help="list the rows, and run none")
    parser.add_argument("--json", type=Path, help="write the table to this file as JSON")
    parser.add_argument("--keep", action="store_true", help="keep the other rows of an existing JSON table")
    parser.add_argument("--rst", type=Path, help="write the table into this page, between the marks")
    options = parser.parse_args()
    rows = chosen(rows_of(MODULES), options.rows, options.quick)
    if options.list:
        for each in rows:
            print(f"{each.id:12} {each.title}")
        return 0
    status = inside(sys.argv[1:])
    if status is not None:
        return status
    suite = Suite(options.seed, options.rounds, options.slack)
    outcomes: list[Outcome] = []
    before = options.json if options.keep else None
    table = Table.of(outcomes, suite, before)
    for each in rows:
        outcomes.append(suite.play(each))
        table = Table.of(outcomes, suite, before)
        if options.json:
            # A run that is ended early leaves the rows that it finished.
            options.json.write_text(table.json())
            before = options.json
    print(table.text())
    if options.rst:
        table.write_page(options.rst)
    return int(any(each.violations for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
