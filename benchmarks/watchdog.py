"""
Has a poll or a publish become twice as slow?

Seconds differ from machine to machine; ratios hardly do. So the watchdog compares a poll and a publish with the answer
of a bare twisted.web resource, in turn, in processor time of the server. A commit of SQLite is no yardstick: on a busy
disk it takes three times the processor time of a quiet disk. C{baseline.json} has the usual ratios. The watchdog fails
if a ratio is less than half of the usual ratio. C{--write} saves the current ratios as the usual ratios.

Run it with C{python -m benchmarks.watchdog}; it takes some seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.contest import DOCUMENT, authorization, controller, posting
from benchmarks.host import on_core
from benchmarks.load import Target, as_fast_as_it_goes
from benchmarks.polls import confd
from tests.integration.fleet import ADMIN, clean_environment, eventually, free_port, request

BASELINE = Path(__file__).with_name("baseline.json")

#: Turns, seconds of each turn, and connections.
_TURNS, _SECONDS, _CONNECTIONS = 3, 1.0, 16


@contextmanager
def bare() -> Iterator[Target]:
    """Run L{benchmarks.bare} on the first core."""
    port = free_port()
    with on_core(0):
        child = subprocess.Popen([sys.executable, "-m", "benchmarks.bare", str(port)], env=clean_environment())
    try:
        url = f"http://127.0.0.1:{port}/"
        eventually(lambda: request("GET", url).status == 304)
        yield Target(url, child.pid)
    finally:
        child.kill()
        child.wait()


def ratios() -> dict[str, float]:
    """Return the rate of each request of confd divided by that of the bare resource."""
    found: dict[str, list[float]] = {"polls": [], "publishes": []}
    with confd() as polled, bare() as other, controller() as fleet:
        written = posting(f"{fleet.url}/api/v1/config", fleet.processes[0].pid, DOCUMENT, authorization(ADMIN))
        for _ in range(_TURNS):
            usual = as_fast_as_it_goes(other, _CONNECTIONS, _SECONDS).cpu
            for name, target in (("polls", polled), ("publishes", written)):
                found[name].append(usual / as_fast_as_it_goes(target, _CONNECTIONS, _SECONDS).cpu)
    return {name: median(values) for name, values in found.items()}


def halved(now: Mapping[str, float], usual: Mapping[str, float]) -> list[str]:
    """Return a sentence for each ratio that is less than half of the usual ratio."""
    return [
        f"{name}: {now[name]:.3f} of the bare resource, and {usual[name]:.3f} was usual"
        for name in usual
        if now[name] < usual[name] / 2
    ]


def main() -> int:
    """Run the command; return status 1 if a ratio is less than half of the usual ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="save the current ratios as the usual ratios")
    options = parser.parse_args()
    now = ratios()
    print(", ".join(f"{name}: {value:.3f}" for name, value in now.items()))
    if options.write:
        BASELINE.write_text(json.dumps({name: round(value, 3) for name, value in now.items()}, indent=2) + "\n")
        return 0
    slower = halved(now, json.loads(BASELINE.read_text()))
    for sentence in slower:
        print(f"twice as slow as usual: {sentence}", file=sys.stderr)
    return int(bool(slower))


if __name__ == "__main__":
    sys.exit(main())
