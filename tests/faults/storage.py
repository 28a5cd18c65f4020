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
from tests.faults.means import call, disk_image, fill, halted, small_disk, strace
from tests.faults.rows import row
from tests.faults.scene import Load, Scene, percentile
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
def killed_under_load(scene: Scene) -> None:
    scene.begin()
    for _ in range(2):
        with Load(scene) as load:
            load.acked(10)
            time.sleep(scene.random.uniform(0.08, 0.2))
            scene.controller.stop(signal.SIGKILL)
        scene.read_database()
        with scene.recovers(2, "ready after a kill"):
            scene.start_controller()
    scene.read_database()


@row(
    "F-02",
    "power cut, controller",
    "copy of an ext4 image at the moment of each answer",
    "lost 0 of the acknowledged",
    agents=0,
    needs=("namespace", "mkfs.ext4"),
    rounds=2,
)
def power_cut(scene: Scene) -> None:
    image, copied = scene.folder / "disk.img", scene.folder / "copy.img"
    with disk_image(image, scene.folder / "disk") as disk:
        keep_in(scene.controller, "--db-path", disk / "controller.db")
        scene.begin()
        for _ in range(25):
            for _ in range(scene.random.randrange(1, 4)):
                assert scene.post().status == 200
            with halted(scene.controller.pid):
                shutil.copyfile(image, copied)
            with disk_image(copied, scene.folder / "after") as after:
                scene.read_database(after / "controller.db")
        scene.controller.stop(signal.SIGKILL)


@row(
    "F-03",
    "power cut, agent's cache",
    "copy of an ext4 image at random moments of updates",
    "neither-nor 0: the old one or the new one",
    needs=("namespace", "mkfs.ext4"),
    strategy="STREAM",
)
def power_cut_agent(scene: Scene) -> None:
    image, copied = scene.folder / "disk.img", scene.folder / "copy.img"
    agent = scene.agents[scene.only]
    with disk_image(image, scene.folder / "disk") as disk:
        keep_in(agent, "--cache-file", disk / "agent.cache")
        scene.begin()
        scene.until(lambda: (disk / "agent.cache").exists(), "cached", PATIENCE)
        held = Tag.parse(scene.history.newest()).version
        for _ in range(20):
            scene.publish()
            scene.until(lambda: scene.history.in_force(scene.only) == scene.history.newest(), "applied", PATIENCE)
            time.sleep(scene.random.uniform(0, 0.02))
            with halted(agent.pid):
                shutil.copyfile(image, copied)
            with disk_image(copied, scene.folder / "after") as after:
                kept = CacheFiles(str(after / "agent.cache"), "default").load()
            scene.claim(kept.configuration is not None and not kept.findings, f"a whole cache: {kept.findings}")
            if kept.configuration is not None:
                scene.claim(kept.configuration.version >= held, "no older cache than before")
                held = kept.configuration.version
        agent.stop(signal.SIGKILL)


def cached_version(path: Path) -> int | None:
    kept = CacheFiles(str(path), "default").load()
    return None if kept.configuration is None else kept.configuration.version


def _kill_at_each(scene: Scene, calls: str, numbers: range) -> None:
    scene.begin()
    for number in numbers:
        scene.controller.stop(signal.SIGKILL)
        scene.controller.before = strace(scene.folder, calls, f"signal=SIGKILL:when={number}")
        scene.controller.start(wait=False)
        with Load(scene, 2):
            scene.until(scene.controller.gone, f"killed at {calls} {number}", PATIENCE * 3)
        scene.controller.stop(signal.SIGKILL)
        scene.controller.before = []
        with scene.recovers(5, "ready after a kill"):
            scene.start_controller()
        scene.read_database()


@row(
    "F-04",
    "controller killed at each sync",
    "strace: SIGKILL at the Nth fdatasync, N = 1 to 12",
    "no loss; every N is reached",
    agents=0,
    needs=("strace",),
)
def killed_at_syncs(scene: Scene) -> None:
    _kill_at_each(scene, "fdatasync", range(1, 13))


@row(
    "F-04 write",
    "controller killed at writes",
    "strace: SIGKILL at the Nth pwrite64, N = 20, 27, ... 62",
    "no loss; every N is reached",
    agents=0,
    needs=("strace",),
)
def killed_at_writes(scene: Scene) -> None:
    _kill_at_each(scene, "pwrite64", range(20, 63, 7))


def _storage_fails(scene: Scene, calls: str, inject: str) -> None:
    """Whatever is refused is not stored, what is answered is, and it goes on."""
    scene.begin()
    scene.controller.stop()
    scene.controller.before = strace(scene.folder, calls, inject)
    scene.start_controller()
    answers = [scene.post().status for _ in range(20)]
    scene.claim(set(answers) <= {200, 503, 507}, f"refused with 503 or 507: {answers}")
    scene.claim(any(each != 200 for each in answers), f"the fault was met: {answers}")
    scene.awaits(lambda: scene.post().status == 200, 5, "publishes again")
    scene.awaits(lambda: scene.ready().status == 200, 5, "ready again")
    scene.claim(scene.get() == 200, "reads go on")
    scene.controller.stop()
    scene.read_database()


@row(
    "F-05",
    "EIO on sync",
    "strace: fdatasync fails, the 10th, 13th, ... 28th",
    "acknowledged but missing 0; 503; heals",
    agents=0,
    needs=("strace",),
)
def sync_fails(scene: Scene) -> None:
    _storage_fails(scene, "fdatasync", "error=EIO:when=10..28+3")


@row(
    "F-06",
    "ENOSPC in the write-ahead log",
    "strace: the 60th to 70th pwrite64 fail",
    "as F-05",
    agents=0,
    needs=("strace",),
)
def no_space_in_log(scene: Scene) -> None:
    _storage_fails(scene, "pwrite64", "error=ENOSPC:when=60..70")


@row(
    "F-07",
    "slow disk",
    "strace: each fdatasync takes 0.5 s",
    "GET p99 100 ms; reactor lag p99 100 ms",
    agents=0,
    needs=("strace",),
)
def slow_disk(scene: Scene) -> None:
    scene.begin(*strace(scene.folder, "fdatasync", "delay_enter=500000"))
    took = []
    with Load(scene, 2) as load:
        eventually(lambda: load.answers[200] >= 1)
        for _ in range(200):
            began = time.monotonic()
            scene.claim(scene.get() == 200, "reads go on")
            took.append(time.monotonic() - began)
            time.sleep(0.02)
        scene.claim(max(load.took) > 0.4, "the disk was slow")
    scene.at_most(percentile(took, 0.99), 0.1, "p99 of GET")
    scene.read_database()


@row(
    "F-08",
    "disk full, controller",
    "tmpfs, filled to the last byte",
    "POST 503 or 507, GET 200, ready 503; heals 5 s after",
    agents=0,
    needs=("namespace",),
)
def disk_full(scene: Scene) -> None:
    with small_disk(scene.folder / "disk") as disk:
        keep_in(scene.controller, "--db-path", disk / "controller.db")
        scene.begin()
        for _ in range(5):
            scene.post()
        filler = fill(disk)
        scene.until(lambda: scene.post().status != 200, "refused", PATIENCE)
        scene.claim(scene.post().status in (503, 507), "POST is refused with 503 or 507")
        scene.claim(scene.get() == 200, "reads go on")
        scene.until(lambda: scene.ready().status == 503, "not ready", 10 * scene.slack)
        scene.claim(
            "DB_PATH" in scene.ready().body.decode() or "disk" in scene.ready().body.decode(), "the reason is said"
        )
        filler.unlink()
        with scene.recovers(5, "after space was made"):
            scene.until(lambda: scene.post().status == 200, "publishing", PATIENCE)
            scene.until(lambda: scene.ready().status == 200, "ready", PATIENCE)
        scene.controller.stop()
        scene.read_database(disk / "controller.db")


@row(
    "F-09",
    "disk full, agent",
    "tmpfs, filled to the last byte",
    "applies all the same; old cache whole; heals",
    needs=("namespace",),
)
def disk_full_agent(scene: Scene) -> None:
    agent = scene.agents[scene.only]
    with small_disk(scene.folder / "disk") as disk:
        cache = disk / "agent.cache"
        keep_in(agent, "--cache-file", cache)
        scene.begin()
        scene.until(lambda: cached_version(cache) is not None, "cached", PATIENCE)
        held = cached_version(cache)
        filler = fill(disk)
        for _ in range(3):
            scene.publish()
        scene.converges(scene.pause + 10)
        scene.until(lambda: scene.ready(agent).status == 503 or b"cache" in scene.ready(agent).body, "said", PATIENCE)
        scene.claim(cached_version(cache) == held, "the old cache is whole")
        filler.unlink()
        newest = Tag.parse(scene.history.newest()).version
        scene.awaits(lambda: cached_version(cache) == newest, 35, "cached after space was made")


@row(
    "F-13",
    "database locked by another process",
    "BEGIN EXCLUSIVE",
    "POST 503 in 6 s; no other error; heals",
    agents=0,
    quick=True,
)
def locked(scene: Scene) -> None:
    scene.begin()
    connection = sqlite3.connect(scene.folder / "controller.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    scene.claim(scene.post().status == 503, "POST is refused with 503")
    scene.at_most(time.monotonic() - began, 6, "the refusal")
    scene.claim(scene.get() == 200, "reads go on")
    connection.execute("ROLLBACK")
    connection.close()
    scene.awaits(lambda: scene.post().status == 200, 5, "publishes again")
    scene.awaits(lambda: scene.ready().status == 200, 10, "ready again")
    scene.read_database()


@row("F-14", "read-only file system", "mount -o remount,ro", "as F-08", agents=0, needs=("namespace",))
def read_only(scene: Scene) -> None:
    with small_disk(scene.folder / "disk", "8m") as disk:
        keep_in(scene.controller, "--db-path", disk / "controller.db")
        scene.begin()
        scene.post()
        scene.controller.stop()
        call("mount", "-o", "remount,ro", str(disk))
        took = until_ended(scene.controller)
        scene.at_most(took, 4, "the refusal to start")
        scene.claim("DB_PATH" in scene.controller.log, "the reason is said")
        call("mount", "-o", "remount,rw", str(disk))
        with scene.recovers(5, "ready"):
            scene.start_controller()
        scene.post()
        scene.controller.stop()
        scene.read_database(disk / "controller.db")


@row("F-43", "retry storm", "the same Idempotency-Key 50 times at once", "versions made: 1", agents=0, quick=True)
def retry_storm(scene: Scene) -> None:
    scene.begin()
    document, found = scene.document(), []

    def write() -> None:
        answer = request("POST", f"{scene.fleet.url}/api/v1/config", document, ADMIN, {"Idempotency-Key": "one"})
        found.append((answer.status, answer.json().get("version")))

    threads = [threading.Thread(target=write) for _ in range(50)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    scene.claim(set(found) == {(200, 2)}, f"one version: {set(found)}")
    scene.read_database()


@row("G2", "60 writers at once", "60 writers without a pause", "distinct, consecutive, 5xx 0", agents=0)
def many_writers(scene: Scene) -> None:
    scene.begin()
    with Load(scene, 60) as load:
        load.acked(800)
    scene.claim(set(load.answers) == {200}, f"every POST was answered with 200: {dict(load.answers)}")
    scene.read_database()


@row(
    "F-66",
    "a second controller by a hard link",
    "link() to the database; another process with that name",
    "it ends with a sentence; the first goes on",
    agents=0,
    quick=True,
)
def second_name(scene: Scene) -> None:
    scene.begin()
    scene.post()
    other = scene.folder / "other.db"
    os.link(scene.folder / "controller.db", other)
    port = str(free_port())
    second = scene.fleet.add(
        "second", ["confd-controller", "--port", port, "--db-path", str(other)], f"http://127.0.0.1:{port}/ready"
    )
    scene.at_most(until_ended(second), 10, "the refusal to start")
    scene.claim("hard link" in second.log, "the reason is said")
    os.unlink(other)
    scene.claim(scene.post().status == 200, "the first goes on")
    scene.read_database()


@row(
    "F-67",
    "agents that register without end",
    "MAX_AGENTS=20; 60 registrations with the shared password",
    "20 come in, 40 get 429; a known one comes in again",
    agents=0,
    options=("--max-agents", "20"),
    quick=True,
)
def endless_agents(scene: Scene) -> None:
    scene.begin()
    path = f"{scene.fleet.url}/api/v1/register"
    answers = [request("POST", path, {"agent_id": f"a{number}"}, AGENT).status for number in range(60)]
    scene.claim(answers == [200] * 20 + [429] * 40, f"the limit holds: {answers}")
    scene.claim(request("POST", path, {"agent_id": "a7"}, AGENT).status == 200, "a known agent comes in")
    scene.claim(scene.post().status == 200, "publishes go on")


@row(
    "F-68",
    "write-ahead log removed while it runs",
    "rm controller.db-wal between two publishes, SIGKILL",
    "no answer 200 after the removal; ready 503 with the reason",
    agents=0,
)
def log_removed(scene: Scene) -> None:
    scene.begin()
    assert scene.post().status == 200
    os.unlink(scene.folder / "controller.db-wal")
    scene.claim(scene.post().status == 503, "POST is refused with 503")
    scene.until(lambda: scene.ready().status == 503, "not ready", 10 * scene.slack)
    scene.claim("-wal" in scene.ready().body.decode(), f"the reason is said: {scene.ready().body!r}")
    scene.controller.stop(signal.SIGKILL)


@row(
    "F-69",
    "one read of the database fails",
    "strace: EIO once, at the Nth pread64",
    "no loss; publishes and ready again without a restart",
    agents=0,
    needs=("strace",),
)
def read_fails_once(scene: Scene) -> None:
    scene.begin()
    trace = scene.folder / "strace.out"
    for number in (40, 55, 70):
        scene.controller.stop()
        scene.controller.before = strace(scene.folder, "pread64", f"error=EIO:when={number}")
        scene.start_controller()
        scene.until(lambda: scene.post() and "INJECTED" in trace.read_text(), f"the fault at read {number}", PATIENCE)
        scene.awaits(lambda: scene.post().status == 200, 10, "publishes again")
        scene.awaits(lambda: scene.ready().status == 200, 10, "ready again")
    scene.controller.stop()
    scene.read_database()


@row(
    "F-70",
    "SIGHUP under publishes",
    "20 signals to a controller with 2 writers",
    "every POST 200; nothing is lost",
    agents=0,
    quick=True,
)
def reloaded_under_load(scene: Scene) -> None:
    secret = scene.folder / "admin.secret"
    secret.write_text(ADMIN[1])
    scene.controller.environ["ADMIN_PASSWORD_FILE"] = str(secret)
    scene.begin()
    with Load(scene, 2) as load:
        for number in range(20):
            load.acked(2 * number + 2)
            scene.controller.signal(signal.SIGHUP)
        load.acked(60)
    scene.claim(set(load.answers) == {200}, f"every POST was answered with 200: {dict(load.answers)}")
    scene.claim(scene.controller.log.count("reloading secrets") > 1, "the signals arrived")
    scene.controller.stop()
    scene.read_database()
