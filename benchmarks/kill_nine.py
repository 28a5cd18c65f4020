"""
Does a controller lose acknowledged writes when it is killed?

Eight writers publish over HTTP to a real C{twistd -n confd-controller}. SIGKILL ends it at a random moment, many times,
and it starts again. After each start the history must hold every acknowledged version exactly once, with its document,
and without a gap. An unacknowledged version must be whole or absent (promises G1 and G2).

Run it with C{python -m benchmarks.kill_nine}: it prints a line of figures, and exits with 1 on a violation.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random

from attrs import define, field, frozen

from confd.codec import strict_json
from confd.codec.headers import basic_authorization
from tests.integration.fleet import ADMIN, PATIENCE, Fleet, Process

WRITERS = 8

#: Seconds between the first acknowledgement and the kill.
LIFE = (0.08, 0.2)

#: Acknowledgements that a round needs on average: fewer would test nothing.
FLOOR = 10


class Invalid(Exception):
    """The run is invalid: the controller did not start, or the traffic was too low."""


@define(eq=False)
class Ledger:
    """
    The documents that were sent, and the acknowledgements of all rounds.

    @ivar sent: the documents by number; none is sent twice.
    @ivar acked: the number of the acknowledged document, by version.
    @ivar twice: the versions that were acknowledged for two documents.
    """

    sent: dict[int, bytes] = field(factory=dict)
    acked: dict[int, int] = field(factory=dict)
    twice: int = 0
    _numbers: Iterator[int] = field(factory=count)
    _lock: threading.Lock = field(factory=threading.Lock)

    def next(self) -> tuple[int, bytes]:
        """Return the next document. Documents differ in size, so that commits differ in pages."""
        with self._lock:
            number = next(self._numbers)
            body = {"url": "https://ip.me", "n": number, "pad": "x" * (number * 37 % 3000)}
            self.sent[number] = strict_json.encode(body)
            return number, self.sent[number]

    def acknowledge(self, version: int, number: int) -> None:
        """Record that the controller published the document C{number} as C{version}."""
        with self._lock:
            self.twice += version in self.acked
            self.acked[version] = number


@frozen
class Findings:
    """
    The differences between the history and the ledger.

    @ivar torn: documents that were never sent, or that do not match their checksum.
    @ivar unanswered: versions without an acknowledgement: allowed if they are whole.
    """

    lost: int
    gaps: int
    duplicates: int
    torn: int
    unanswered: int

    @property
    def violations(self) -> int:
        """Return the number of broken promises."""
        return self.lost + self.gaps + self.duplicates + self.torn


def examine(database: Path, ledger: Ledger) -> Findings:
    """Compare the history on disk with the ledger, while the controller is stopped."""
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT version, document, checksum FROM revisions WHERE namespace = 'default' ORDER BY version"
        ).fetchall()
    finally:
        connection.close()
    stored: dict[int, int] = {}
    torn = 0
    # The controller wrote version 1 itself.
    for version, text, checksum in rows[1:]:
        value = json.loads(text)
        stored[version] = value.get("n")
        torn += ledger.sent.get(value.get("n")) != text.encode() or strict_json.checksum(value) != checksum
    versions = [version for version, _, _ in rows]
    repeated = Counter(stored.values())
    return Findings(
        lost=sum(stored.get(version) != number for version, number in ledger.acked.items()),
        gaps=max(versions) - len(set(versions)),
        duplicates=len(versions) - len(set(versions)) + sum(repeated.values()) - len(repeated) + ledger.twice,
        torn=torn,
        unanswered=len(stored.keys() - ledger.acked.keys()),
    )


def start(controller: Process) -> float:
    """
    Start the controller, and return the seconds until it is ready.

    @raise Invalid: if it is not ready in time.
    """
    began = time.monotonic()
    try:
        controller.start()
    except AssertionError as error:
        raise Invalid(f"the controller does not start: {error}") from None
    return time.monotonic() - began


def write(port: int, ledger: Ledger, acked: threading.Event) -> None:
    """Publish one document after the other until the controller is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    headers = {"Authorization": basic_authorization(*ADMIN).decode(), "Content-Type": "application/json"}
    try:
        while True:
            number, body = ledger.next()
            connection.request("POST", "/api/v1/config", body, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status == 200:
                ledger.acknowledge(json.loads(answer)["version"], number)
                acked.set()
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def run_round(controller: Process, port: int, ledger: Ledger, random: Random) -> None:
    """Publish with all writers, and kill the controller meanwhile."""
    acked = threading.Event()
    writers = [threading.Thread(target=write, args=(port, ledger, acked)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    answered = acked.wait(PATIENCE)
    time.sleep(random.uniform(*LIFE))
    controller.stop(signal.SIGKILL)
    for writer in writers:
        writer.join()
    if not answered:
        raise Invalid("no publish was answered with 200")


def run(fleet: Fleet, ledger: Ledger, rounds: int, random: Random, most: float) -> bool:
    """
    Run all rounds.

    @param fleet: owns the controller.
    @param most: seconds after which no further round begins.
    @return: whether every promise was kept.
    """
    until, worst, done = time.monotonic() + most, 0.0, 0
    controller, database = fleet.controller("--log-level", "warn"), fleet.folder / "controller.db"
    start(controller)
    found = examine(database, ledger)
    while not found.violations and done < rounds and time.monotonic() < until:
        run_round(controller, fleet.port, ledger, random)
        done += 1
        worst = max(worst, start(controller))
        found = examine(database, ledger)
    if done < rounds and not found.violations:
        raise Invalid(f"only {done} of {rounds} rounds in {most:.0f} s")
    print(
        f"rounds {done}, acked {len(ledger.acked)}, lost {found.lost}, gaps {found.gaps}, "
        f"duplicates {found.duplicates}, torn {found.torn}, unanswered but whole {found.unanswered}, "
        f"worst ready time {worst:.2f} s"
    )
    if len(ledger.acked) < FLOOR * done:
        raise Invalid(f"fewer than {FLOOR} acknowledgements a round")
    return not found.violations


def main() -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="kills (200)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="of the moments of the kills")
    parser.add_argument("--most", type=float, default=1800.0, help="seconds to take at most (1800)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    print(f"seed {options.seed}")
    folder = Path(tempfile.mkdtemp(prefix="confd-kill-nine-"))
    fleet, kept = Fleet(folder), False
    try:
        kept = run(fleet, Ledger(), options.rounds, Random(options.seed), options.most)
    except Invalid as error:
        print(f"invalid: {error}", file=sys.stderr)
    finally:
        fleet.close()
        if kept:
            shutil.rmtree(folder)
        else:
            print(f"database and log are kept in {folder}", file=sys.stderr)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
