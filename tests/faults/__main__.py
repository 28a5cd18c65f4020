"""
The fault suite: every fault is injected for real, and the history of each run is judged by one checker.

Run it with C{make test-faults}, or C{python -m tests.faults}. As root it makes a network and mounts of its own, which
vanish with it; without root the rows that need them say so, and are not run.
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
    bad_answers,
    broker,
    clocks,
    corpora,
    damage,
    edge,
    fleets,
    network,
    processes,
    storage,
    upstream,
)
from tests.faults.rows import Row, rows_of
from tests.faults.run import Suite
from tests.faults.table import Table

MODULES = (storage, damage, processes, broker, edge, corpora, upstream, network, clocks, fleets, bad_answers, addresses)


def inside(arguments: list[str]) -> int | None:
    """
    Run all of it again, in a network with nothing but loopback and with mounts that nobody else sees.

    @return: its status; C{None} where that cannot be had.
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
    """Those that were asked for."""
    wanted = [each for each in names.split(",") if each]
    unknown = [each for each in wanted if not any(row.id.startswith(each) for row in rows)]
    if unknown:
        raise SystemExit(f"no row is called {', '.join(unknown)}; --list names them")
    found = [
        each for each in rows if not wanted or any(each.id == name or each.id.startswith(f"{name} ") for name in wanted)
    ]
    return [each for each in found if each.quick or not quick]


def main() -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="a comma list; by default all")
    parser.add_argument("--rounds", type=float, default=1.0, help="times as many rounds of each row (1)")
    parser.add_argument("--slack", type=float, default=1.0, help="times as many seconds in each limit (1)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="where all chance comes from")
    parser.add_argument("--quick", action="store_true", help="only those that run with all other tests")
    parser.add_argument("--list", action="store_true", help="name the rows, and run none")
    parser.add_argument("--json", type=Path, help="write the table there as JSON")
    parser.add_argument("--keep", action="store_true", help="of a JSON table that is there, keep the rows not run now")
    parser.add_argument("--rst", type=Path, help="write the table into this page, between its marks")
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
    outcomes = [suite.play(each) for each in rows]
    table = Table.of(outcomes, suite, options.json if options.keep else None)
    print(table.text())
    if options.json:
        options.json.write_text(table.json())
    if options.rst:
        table.write_page(options.rst)
    return int(any(each.violations for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
