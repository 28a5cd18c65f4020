"""Storage that is not what it was: damaged, older, lost, shared: F-10 to F-12, F-15."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from confd.model import Tag
from tests.faults.harness import FaultHarness, Load
from tests.faults.rows import row
from tests.faults.storage import cached_version, until_ended
from tests.integration.fleet import ADMIN, PATIENCE, free_port, request


def _damages() -> dict[str, Callable[[Path], None]]:
    def flip(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)

    def huge(path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(2**30)

    def other_epoch(path: Path) -> None:
        path.write_bytes(path.read_bytes().replace(b'"epoch":1', b'"epoch":9'))

    return {
        "a bit is turned over": flip,
        "the end is missing": lambda path: path.write_bytes(path.read_bytes()[:-20]),
        "empty": lambda path: path.write_bytes(b""),
        "{}": lambda path: path.write_bytes(b"{}\n{}\n"),
        "another epoch": other_epoch,
        "1 GiB": huge,
        "rubbish": lambda path: path.write_bytes(bytes(range(256)) * 16),
    }


@row("F-10", "damaged cache", "7 kinds of damage, to both copies", "applied from it 0; the agent lives and converges")
def damaged_cache(fleet: FaultHarness) -> None:
    fleet.begin()
    agent, cache = fleet.agents[fleet.only], fleet.folder / f"{fleet.only}.cache"
    for kind, damage in _damages().items():
        fleet.publish()
        fleet.converges(fleet.pause + 10)
        fleet.until(lambda: cached_version(cache) == Tag.parse(fleet.history.newest()).version, "cached", PATIENCE)
        agent.stop()
        for path in (cache, cache.with_name(f"{cache.name}.prev")):
            if path.exists():
                damage(path)
        fleet.restart_agent(fleet.only)
        fleet.claim(agent.up(), f"lives with a cache that is damaged: {kind}")
    fleet.publish()
    fleet.converges(fleet.pause + 10)


@row(
    "F-11",
    "damaged database",
    "200 bytes overwritten at 8 places; rubbish; truncated",
    "silent start 0; the reason is said",
    agents=0,
)
def damaged_database(fleet: FaultHarness) -> None:
    fleet.begin()
    for _ in range(60):
        fleet.post()
    fleet.controller.stop()
    database = fleet.folder / "controller.db"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    sound = database.read_bytes()
    for place in [fleet.random.randrange(100, len(sound) - 4096) for _ in range(8)]:
        hurt = bytearray(sound)
        hurt[place : place + 200] = fleet.random.randbytes(200)
        _refused_or_sound(fleet, database, bytes(hurt), f"overwritten at {place}")
    _refused_or_sound(fleet, database, fleet.random.randbytes(7000), "rubbish")
    _refused_or_sound(fleet, database, sound[: len(sound) // 2], "half of it")
    database.write_bytes(sound)
    fleet.start_controller()
    fleet.read_database()


def _refused_or_sound(fleet: FaultHarness, database: Path, content: bytes, what: str) -> None:
    """SQLite may not see damage in a page that holds text or nothing; then every document must still be whole."""
    database.write_bytes(content)
    before = len(fleet.controller.log)
    try:
        until_ended(fleet.controller, PATIENCE)
    except AssertionError:
        # It runs: what it serves must be what was published, or it must say what is wrong.
        served = request("GET", f"{fleet.daemons.url}/api/v1/config", auth=ADMIN)
        good = served.status == 503
        if served.status == 200:
            body = served.json()
            good = any(
                e.checksum == body["checksum"] and e.tag.endswith(f".{body['version']}") for e in fleet.history.events
            )
        fleet.claim(good, f"started with a database that is damaged ({what}), and served {served.status}")
    else:
        said = fleet.controller.log[before:]
        fleet.claim("DB_PATH" in said or "damaged" in said, f"the reason is said ({what})")
    fleet.controller.stop(signal.SIGKILL)
    fleet.claim(database.stat().st_size >= min(len(content), 4096), f"no new database in its place ({what})")


@row("F-12", "database restored from an older copy", "an older file copied back", "older applied 0; said by the agent")
def older_database(fleet: FaultHarness) -> None:
    fleet.begin()
    database = fleet.folder / "controller.db"
    fleet.controller.stop()
    older = database.read_bytes()
    fleet.start_controller()
    for _ in range(3):
        fleet.publish()
    fleet.converges(fleet.pause + 10)
    fleet.controller.stop()
    database.write_bytes(older)
    fleet.controller.start()
    agent = fleet.agents[fleet.only]
    with fleet.recovers(fleet.pause + 10, "the alarm"):
        fleet.until(lambda: "older" in agent.log, "alarmed", PATIENCE)
    time.sleep(fleet.pause)
    fleet.claim(fleet.history.current(fleet.only) == fleet.history.newest(), "the newest stays current")


@row("F-12 lost", "database lost", "file, log and marker removed", "older applied 0; said by the agent")
def lost_database(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.controller.stop()
    for path in fleet.folder.glob("controller.db*"):
        path.unlink()
    fleet.controller.start()
    agent = fleet.agents[fleet.only]
    with fleet.recovers(fleet.pause + 10, "the alarm"):
        fleet.until(lambda: "another cluster" in agent.log, "alarmed", PATIENCE)
    for _ in range(3):
        fleet.daemons.publish(fleet.document())
    time.sleep(fleet.pause)
    fleet.claim(fleet.history.current(fleet.only) == fleet.history.newest(), "the newest stays current")


@row(
    "F-15",
    "second controller on one database",
    "started twice",
    "the second ends in 3 s, and says why",
    agents=0,
    quick=True,
)
def second_controller(fleet: FaultHarness) -> None:
    fleet.begin()
    second = fleet.daemons.add("second", ["confd-controller", "--port", str(free_port())])
    with Load(fleet, 1):
        second.health = f"http://127.0.0.1:{second.arguments[-1]}/health"
        fleet.at_most(until_ended(second), 3, "the refusal to start")
    fleet.claim("DB_PATH" in second.log, "the reason is said")
    fleet.claim(json.loads(fleet.ready().body) is not None and fleet.ready().status == 200, "the first goes on")
    fleet.read_database()
