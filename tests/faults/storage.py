"""Storage that fails or lies: F-01 to F-09, F-13, F-14, F-43."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import time
from pathlib import Path

from confd.agent.cache_files import CacheFiles
from confd.model import Tag
from tests.faults.harness import FaultHarness, Load, percentile
from tests.faults.injection import call, disk_image, fill, halted, small_disk, strace
from tests.faults.rows import row
from tests.integration.fleet import ADMIN, AGENT, PATIENCE, Process, eventually, free_port, request


def keep_in(process: Process, setting: str, path: Path) -> None:
    """Give a file of a process another place."""
    process.arguments += [setting, str(path)]


def until_ended(process: Process, seconds: float = PATIENCE) -> float:
    """Wait until a process that cannot start has ended; the seconds that it took."""
    began = time.monotonic()
    process.start(wait=False)
    try:
        eventually(process.up, seconds)
    except AssertionError:
        if process.gone():
            return time.monotonic() - began
    raise AssertionError(f"{process.name} did not end")


@row(
    "F-01",
    "controller killed under load",
    "SIGKILL at a random moment of 4 writers",
    "lost 0, gaps 0; ready in 2 s",
    agents=0,
    rounds=10,
    quick=True,
)
def killed_under_load(fleet: FaultHarness) -> None:
    fleet.begin()
    for _ in range(2):
        with Load(fleet) as load:
            load.acked(10)
            time.sleep(fleet.random.uniform(0.08, 0.2))
            fleet.controller.stop(signal.SIGKILL)
        fleet.read_database()
        with fleet.recovers(2, "ready after a kill"):
            fleet.start_controller()
    fleet.read_database()


@row(
    "F-02",
    "power cut, controller",
    "copy of an ext4 image at the moment of each answer",
    "lost 0 of the acknowledged",
    agents=0,
    needs=("namespace", "mkfs.ext4"),
    rounds=2,
)
def power_cut(fleet: FaultHarness) -> None:
    image, copied = fleet.folder / "disk.img", fleet.folder / "copy.img"
    with disk_image(image, fleet.folder / "disk") as disk:
        keep_in(fleet.controller, "--db-path", disk / "controller.db")
        fleet.begin()
        for _ in range(25):
            for _ in range(fleet.random.randrange(1, 4)):
                assert fleet.post().status == 200
            with halted(fleet.controller.pid):
                shutil.copyfile(image, copied)
            with disk_image(copied, fleet.folder / "after") as after:
                fleet.read_database(after / "controller.db")
        fleet.controller.stop(signal.SIGKILL)


@row(
    "F-03",
    "power cut, agent's cache",
    "copy of an ext4 image at random moments of updates",
    "neither-nor 0: the old one or the new one",
    needs=("namespace", "mkfs.ext4"),
    strategy="STREAM",
)
def power_cut_agent(fleet: FaultHarness) -> None:
    image, copied = fleet.folder / "disk.img", fleet.folder / "copy.img"
    agent = fleet.agents[fleet.only]
    with disk_image(image, fleet.folder / "disk") as disk:
        keep_in(agent, "--cache-file", disk / "agent.cache")
        fleet.begin()
        fleet.until(lambda: (disk / "agent.cache").exists(), "cached", PATIENCE)
        held = Tag.parse(fleet.history.newest()).version
        for _ in range(20):
            fleet.publish()
            fleet.until(lambda: fleet.history.current(fleet.only) == fleet.history.newest(), "applied", PATIENCE)
            time.sleep(fleet.random.uniform(0, 0.02))
            with halted(agent.pid):
                shutil.copyfile(image, copied)
            with disk_image(copied, fleet.folder / "after") as after:
                kept = CacheFiles(str(after / "agent.cache"), "default").load()
            fleet.claim(kept.configuration is not None and not kept.findings, f"a whole cache: {kept.findings}")
            if kept.configuration is not None:
                fleet.claim(kept.configuration.version >= held, "no older cache than before")
                held = kept.configuration.version
        agent.stop(signal.SIGKILL)


def cached_version(path: Path) -> int | None:
    kept = CacheFiles(str(path), "default").load()
    return None if kept.configuration is None else kept.configuration.version


def _kill_at_each(fleet: FaultHarness, calls: str, numbers: range) -> None:
    fleet.begin()
    for number in numbers:
        fleet.controller.stop(signal.SIGKILL)
        fleet.controller.before = strace(fleet.folder, calls, f"signal=SIGKILL:when={number}")
        fleet.controller.start(wait=False)
        with Load(fleet, 2):
            fleet.until(fleet.controller.gone, f"killed at {calls} {number}", PATIENCE * 3)
        fleet.controller.stop(signal.SIGKILL)
        fleet.controller.before = []
        with fleet.recovers(5, "ready after a kill"):
            fleet.start_controller()
        fleet.read_database()


@row(
    "F-04",
    "controller killed at each sync",
    "strace: SIGKILL at the Nth fdatasync, N = 1 to 12",
    "no loss; every N is reached",
    agents=0,
    needs=("strace",),
)
def killed_at_syncs(fleet: FaultHarness) -> None:
    _kill_at_each(fleet, "fdatasync", range(1, 13))


@row(
    "F-04 write",
    "controller killed at writes",
    "strace: SIGKILL at the Nth pwrite64, N = 20, 27, ... 62",
    "no loss; every N is reached",
    agents=0,
    needs=("strace",),
)
def killed_at_writes(fleet: FaultHarness) -> None:
    _kill_at_each(fleet, "pwrite64", range(20, 63, 7))


def _storage_fails(fleet: FaultHarness, calls: str, inject: str) -> None:
    """Whatever is refused is not stored, what is answered is, and it goes on."""
    fleet.begin()
    fleet.controller.stop()
    fleet.controller.before = strace(fleet.folder, calls, inject)
    fleet.start_controller()
    answers = [fleet.post().status for _ in range(20)]
    fleet.claim(set(answers) <= {200, 503, 507}, f"refused with 503 or 507: {answers}")
    fleet.claim(any(each != 200 for each in answers), f"the fault was met: {answers}")
    fleet.awaits(lambda: fleet.post().status == 200, 5, "publishes again")
    fleet.awaits(lambda: fleet.ready().status == 200, 5, "ready again")
    fleet.claim(fleet.get() == 200, "reads go on")
    fleet.controller.stop()
    fleet.read_database()


@row(
    "F-05",
    "EIO on sync",
    "strace: fdatasync fails, the 10th, 13th, ... 28th",
    "acknowledged but missing 0; 503; heals",
    agents=0,
    needs=("strace",),
)
def sync_fails(fleet: FaultHarness) -> None:
    _storage_fails(fleet, "fdatasync", "error=EIO:when=10..28+3")


@row(
    "F-06",
    "ENOSPC in the write-ahead log",
    "strace: the 60th to 70th pwrite64 fail",
    "as F-05",
    agents=0,
    needs=("strace",),
)
def no_space_in_log(fleet: FaultHarness) -> None:
    _storage_fails(fleet, "pwrite64", "error=ENOSPC:when=60..70")


@row(
    "F-07",
    "slow disk",
    "strace: each fdatasync takes 0.5 s",
    "GET p99 100 ms; reactor lag p99 100 ms",
    agents=0,
    needs=("strace",),
)
def slow_disk(fleet: FaultHarness) -> None:
    fleet.begin(*strace(fleet.folder, "fdatasync", "delay_enter=500000"))
    took = []
    with Load(fleet, 2) as load:
        eventually(lambda: load.answers[200] >= 1)
        for _ in range(200):
            began = time.monotonic()
            fleet.claim(fleet.get() == 200, "reads go on")
            took.append(time.monotonic() - began)
            time.sleep(0.02)
        fleet.claim(max(load.took) > 0.4, "the disk was slow")
    fleet.at_most(percentile(took, 0.99), 0.1, "p99 of GET")
    fleet.read_database()


@row(
    "F-08",
    "disk full, controller",
    "tmpfs, filled to the last byte",
    "POST 503 or 507, GET 200, ready 503; heals 5 s after",
    agents=0,
    needs=("namespace",),
)
def disk_full(fleet: FaultHarness) -> None:
    with small_disk(fleet.folder / "disk") as disk:
        keep_in(fleet.controller, "--db-path", disk / "controller.db")
        fleet.begin()
        for _ in range(5):
            fleet.post()
        filler = fill(disk)
        fleet.until(lambda: fleet.post().status != 200, "refused", PATIENCE)
        fleet.claim(fleet.post().status in (503, 507), "POST is refused with 503 or 507")
        fleet.claim(fleet.get() == 200, "reads go on")
        fleet.until(lambda: fleet.ready().status == 503, "not ready", 10 * fleet.slack)
        fleet.claim(
            "DB_PATH" in fleet.ready().body.decode() or "disk" in fleet.ready().body.decode(), "the reason is said"
        )
        filler.unlink()
        with fleet.recovers(5, "after space was made"):
            fleet.until(lambda: fleet.post().status == 200, "publishing", PATIENCE)
            fleet.until(lambda: fleet.ready().status == 200, "ready", PATIENCE)
        fleet.controller.stop()
        fleet.read_database(disk / "controller.db")


@row(
    "F-09",
    "disk full, agent",
    "tmpfs, filled to the last byte",
    "applies all the same; old cache whole; heals",
    needs=("namespace",),
)
def disk_full_agent(fleet: FaultHarness) -> None:
    agent = fleet.agents[fleet.only]
    with small_disk(fleet.folder / "disk") as disk:
        cache = disk / "agent.cache"
        keep_in(agent, "--cache-file", cache)
        fleet.begin()
        fleet.until(lambda: cached_version(cache) is not None, "cached", PATIENCE)
        held = cached_version(cache)
        filler = fill(disk)
        for _ in range(3):
            fleet.publish()
        fleet.converges(fleet.pause + 10)
        fleet.until(lambda: fleet.ready(agent).status == 503 or b"cache" in fleet.ready(agent).body, "said", PATIENCE)
        fleet.claim(cached_version(cache) == held, "the old cache is whole")
        filler.unlink()
        newest = Tag.parse(fleet.history.newest()).version
        fleet.awaits(lambda: cached_version(cache) == newest, 35, "cached after space was made")


@row(
    "F-13",
    "database locked by another process",
    "BEGIN EXCLUSIVE",
    "POST 503 in 6 s; no other error; heals",
    agents=0,
    quick=True,
)
def locked(fleet: FaultHarness) -> None:
    fleet.begin()
    connection = sqlite3.connect(fleet.folder / "controller.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    fleet.claim(fleet.post().status == 503, "POST is refused with 503")
    fleet.at_most(time.monotonic() - began, 6, "the refusal")
    fleet.claim(fleet.get() == 200, "reads go on")
    connection.execute("ROLLBACK")
    connection.close()
    fleet.awaits(lambda: fleet.post().status == 200, 5, "publishes again")
    fleet.awaits(lambda: fleet.ready().status == 200, 10, "ready again")
    fleet.read_database()


@row("F-14", "read-only file system", "mount -o remount,ro", "as F-08", agents=0, needs=("namespace",))
def read_only(fleet: FaultHarness) -> None:
    with small_disk(fleet.folder / "disk", "8m") as disk:
        keep_in(fleet.controller, "--db-path", disk / "controller.db")
        fleet.begin()
        fleet.post()
        fleet.controller.stop()
        call("mount", "-o", "remount,ro", str(disk))
        took = until_ended(fleet.controller)
        fleet.at_most(took, 4, "the refusal to start")
        fleet.claim("DB_PATH" in fleet.controller.log, "the reason is said")
        call("mount", "-o", "remount,rw", str(disk))
        with fleet.recovers(5, "ready"):
            fleet.start_controller()
        fleet.post()
        fleet.controller.stop()
        fleet.read_database(disk / "controller.db")


@row("F-43", "retry storm", "the same Idempotency-Key 50 times at once", "versions made: 1", agents=0, quick=True)
def retry_storm(fleet: FaultHarness) -> None:
    fleet.begin()
    document, found = fleet.document(), []

    def write() -> None:
        answer = request("POST", f"{fleet.daemons.url}/api/v1/config", document, ADMIN, {"Idempotency-Key": "one"})
        found.append((answer.status, answer.json().get("version")))

    threads = [threading.Thread(target=write) for _ in range(50)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    fleet.claim(set(found) == {(200, 2)}, f"one version: {set(found)}")
    fleet.read_database()


@row("G2", "60 writers at once", "60 writers without a pause", "distinct, consecutive, 5xx 0", agents=0)
def many_writers(fleet: FaultHarness) -> None:
    fleet.begin()
    with Load(fleet, 60) as load:
        load.acked(800)
    fleet.claim(set(load.answers) == {200}, f"every POST was answered with 200: {dict(load.answers)}")
    fleet.read_database()


@row(
    "F-66",
    "a second controller by a hard link",
    "link() to the database; another process with that name",
    "it ends with a sentence; the first goes on",
    agents=0,
    quick=True,
)
def second_name(fleet: FaultHarness) -> None:
    fleet.begin()
    fleet.post()
    other = fleet.folder / "other.db"
    os.link(fleet.folder / "controller.db", other)
    port = str(free_port())
    second = fleet.daemons.add(
        "second", ["confd-controller", "--port", port, "--db-path", str(other)], f"http://127.0.0.1:{port}/ready"
    )
    fleet.at_most(until_ended(second), 10, "the refusal to start")
    fleet.claim("hard link" in second.log, "the reason is said")
    os.unlink(other)
    fleet.claim(fleet.post().status == 200, "the first goes on")
    fleet.read_database()


@row(
    "F-67",
    "agents that register without end",
    "MAX_AGENTS=20; 60 registrations with the shared password",
    "20 come in, 40 get 429; a known one comes in again",
    agents=0,
    options=("--max-agents", "20"),
    quick=True,
)
def endless_agents(fleet: FaultHarness) -> None:
    fleet.begin()
    path = f"{fleet.daemons.url}/api/v1/register"
    answers = [request("POST", path, {"agent_id": f"a{number}"}, AGENT).status for number in range(60)]
    fleet.claim(answers == [200] * 20 + [429] * 40, f"the limit holds: {answers}")
    fleet.claim(request("POST", path, {"agent_id": "a7"}, AGENT).status == 200, "a known agent comes in")
    fleet.claim(fleet.post().status == 200, "publishes go on")


@row(
    "F-68",
    "write-ahead log removed while it runs",
    "rm controller.db-wal between two publishes, SIGKILL",
    "no answer 200 after the removal; ready 503 with the reason",
    agents=0,
)
def log_removed(fleet: FaultHarness) -> None:
    fleet.begin()
    assert fleet.post().status == 200
    os.unlink(fleet.folder / "controller.db-wal")
    fleet.claim(fleet.post().status == 503, "POST is refused with 503")
    fleet.until(lambda: fleet.ready().status == 503, "not ready", 10 * fleet.slack)
    fleet.claim("-wal" in fleet.ready().body.decode(), f"the reason is said: {fleet.ready().body!r}")
    fleet.controller.stop(signal.SIGKILL)


@row(
    "F-69",
    "one read of the database fails",
    "strace: EIO once, at the Nth pread64",
    "no loss; publishes and ready again without a restart",
    agents=0,
    needs=("strace",),
)
def read_fails_once(fleet: FaultHarness) -> None:
    fleet.begin()
    trace = fleet.folder / "strace.out"
    for number in (40, 55, 70):
        fleet.controller.stop()
        fleet.controller.before = strace(fleet.folder, "pread64", f"error=EIO:when={number}")
        fleet.start_controller()
        fleet.until(lambda: fleet.post() and "INJECTED" in trace.read_text(), f"the fault at read {number}", PATIENCE)
        fleet.awaits(lambda: fleet.post().status == 200, 10, "publishes again")
        fleet.awaits(lambda: fleet.ready().status == 200, 10, "ready again")
    fleet.controller.stop()
    fleet.read_database()


@row(
    "F-70",
    "SIGHUP under publishes",
    "20 signals to a controller with 2 writers",
    "every POST 200; nothing is lost",
    agents=0,
    quick=True,
)
def reloaded_under_load(fleet: FaultHarness) -> None:
    secret = fleet.folder / "admin.secret"
    secret.write_text(ADMIN[1])
    fleet.controller.environ["ADMIN_PASSWORD_FILE"] = str(secret)
    fleet.begin()
    with Load(fleet, 2) as load:
        for number in range(20):
            load.acked(2 * number + 2)
            fleet.controller.signal(signal.SIGHUP)
        load.acked(60)
    fleet.claim(set(load.answers) == {200}, f"every POST was answered with 200: {dict(load.answers)}")
    fleet.claim(fleet.controller.log.count("reloading secrets") > 1, "the signals arrived")
    fleet.controller.stop()
    fleet.read_database()
