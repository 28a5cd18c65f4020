"""Outputs that write files: killed agents, places that refuse, and odd commands: F-71 to F-76."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from attrs import define, field, frozen

from confd.codec.headers import rfc3339
from tests.faults.harness import FaultHarness, resident
from tests.faults.injection import call, fill, small_disk
from tests.faults.rows import row
from tests.integration.file_fleet import FileFleet
from tests.integration.fleet import ADMIN, PATIENCE, request

#: The recorder: what it says of the file is what a program knows that reads the file then.
RELOAD = """#!/bin/sh
die() { if [ "$(cat kill 2>/dev/null)" = "$1" ]; then rm kill; kill -9 $PPID; exit 9; fi; }
cd "$(dirname "$0")"
[ ! -e "hook-$1" ] || . "./hook-$1"
if [ "$1" != reload ]; then die "$1"; exit 0; fi
die before
mkdir busy || echo overlap >> overlaps
[ ! -e slow ] || sleep 0.2
echo "$(stat -c %i "$CONFD_FILE") $(sha256sum < "$CONFD_FILE" | cut -c 1-64)" >> reloads
rmdir busy
die after
"""


@frozen
class Reload:
    """
    A reload that succeeded.

    @ivar inode: Number of the file that the program read.
    @ivar sha: SHA-256 of its content.
    """

    inode: int
    sha: str


@define(eq=False)
class Machine:
    """
    A controller, an agent that writes one file, and a program that uses it.

    @ivar harness: Takes the claims.
    @ivar place: The folder of the file.
    """

    harness: FaultHarness
    place: Path = field()
    files: FileFleet = field(init=False)

    @place.default
    def _place(self) -> Path:
        return self.harness.folder / "place"

    def __attrs_post_init__(self) -> None:
        self.harness.begin()
        self.files = FileFleet(self.harness.daemons)
        self.place.mkdir(exist_ok=True)
        self.files.place("program/program", RELOAD, 0o755)

    @property
    def file(self) -> Path:
        """The file that the agent writes."""
        return self.place / "app.json"

    @property
    def program(self) -> Path:
        """The folder of the program."""
        return self.harness.folder / "program"

    def options(self, *more: str) -> tuple[str, ...]:
        """Return the options of the agent; C{more} come last, and win."""
        program = self.program / "program"
        commands = {"check": "check {path}", "test": "test", "reload": "reload", "probe": "probe"}
        settings = [word for name, text in commands.items() for word in (f"--file-{name}", f"{program} {text}")]
        return ("--file-path", str(self.file), *settings, "--file-retry", "1", "--file-timeout", "5", *more)

    def start(self, *more: str, before: Sequence[str] = ()) -> str:
        """
        Start the agent, and wait until the first version is applied; return its tag.

        @param more: Options.
        @param before: Words before the command line of the agent.
        """
        tag = self.files.publish(number=0)
        self.files.start(*self.options(*more), before=before)
        self.files.applied(tag)
        return tag

    def hook(self, step: str, text: str) -> None:
        """Let a command of the agent do something more."""
        path = self.program / f"hook-{step}"
        if text:
            path.write_text(text + "\n")
        else:
            path.unlink()

    def settles(self) -> None:
        """Wait until the agent reports the newest version as applied."""
        answer = request("GET", f"{self.files.fleet.url}/api/v1/config", auth=ADMIN)
        self.files.applied(answer.headers["etag"].strip('"'))

    def reloads(self) -> list[Reload]:
        """Return what the program read, oldest first."""
        path = self.program / "reloads"
        lines = path.read_text().splitlines() if path.exists() else []
        return [Reload(int(inode), sha) for inode, _, sha in (line.partition(" ") for line in lines)]

    def holds(self, number: int, what: str) -> None:
        """Claim that the file has a document, and that the program read the file after its last change."""
        self.harness.claim(json.loads(self.file.read_text())["number"] == number, f"{what}: the file has {number}")
        self.proven(what)

    def proven(self, what: str) -> None:
        """Claim that the program read the file after its last change."""
        last = self.reloads()[-1]
        found = Reload(self.file.stat().st_ino, hashlib.sha256(self.file.read_bytes()).hexdigest())
        self.harness.claim(last == found, f"{what}: the last reload read {last}, the file is {found}")

    def alone(self) -> None:
        """Claim that no two reloads ran at once, and that no temporary file is left."""
        self.harness.claim(not (self.program / "overlaps").exists(), "never two reloads at once")
        left = sorted(each.name for each in self.place.iterdir() if each.name.startswith(".confd-"))
        self.harness.claim(not left, f"nothing is left beside the file: {left}")


def kill_during_applies(fleet: FaultHarness, kills: int) -> None:
    """Kill the agent so many times, and hold every report against what the program read."""
    machine = Machine(fleet)
    files = machine.files
    machine.start()
    number, tag = 0, ""
    for _ in range(kills):
        step = fleet.random.choice(["random"] * 4 + ["check", "test", "before", "after", "probe"])
        if step != "random":
            (machine.program / "kill").write_text(step)
        drift = number > 0 and fleet.random.random() < 0.3
        if drift:
            machine.file.write_text("{}")
        else:
            number += 1
            tag = files.publish(number=number)
        if step == "random":
            time.sleep(fleet.random.uniform(0, 2.5 if drift else 0.15))
            files.agent.stop(signal.SIGKILL)
        else:
            fleet.until(files.agent.gone, f"killed at {step}", PATIENCE)
        if not drift and files.report()["applied_tag"] == tag:
            machine.holds(number, f"reported before the kill at {step}")
        shutil.rmtree(machine.program / "busy", ignore_errors=True)
        if fleet.random.random() < 0.3:
            # Without its cache, the agent meets its own file of the version that it was applying.
            (fleet.folder / "agent.cache").unlink(missing_ok=True)
        since = rfc3339(datetime.now(UTC))
        files.agent.start()
        files.applied(tag, since)
        machine.holds(number, f"after the kill at {step}")
    machine.alone()


_KILLED = "SIGKILL, at random and at the beginning or end of each command"
_PROVEN = "applied without a reload after the last change: 0"


@row("F-71", "FILE: agent killed 200 times during applies", _KILLED, _PROVEN, rounds=20, agents=0)
def agent_killed_often(fleet: FaultHarness) -> None:
    kill_during_applies(fleet, 10)


@row("F-71 few", "FILE: agent killed during applies", _KILLED, _PROVEN, agents=0, quick=True)
def agent_killed(fleet: FaultHarness) -> None:
    kill_during_applies(fleet, 10)


@row(
    "F-72",
    "FILE: disk full when staging, marking and rolling back",
    "tmpfs, filled to the last byte, for the file and for the marker",
    "applying, with the reason; the old file is whole; heals; no reload is repeated",
    agents=0,
    needs=("namespace",),
)
def disk_full(fleet: FaultHarness) -> None:
    with small_disk(fleet.folder / "place") as place, small_disk(fleet.folder / "state") as state:
        machine = Machine(fleet, place)
        files = machine.files
        machine.start("--cache-file", str(state / "agent.cache"))
        for where in (place, state):
            before, reloads = machine.file.read_bytes(), len(machine.reloads())
            filler = fill(where)
            tag = files.publish(number=1, where=where.name, pad="x" * 5000)
            files.applying("No space left on device.")
            fleet.claim(machine.file.read_bytes() == before, f"{where.name}: the old file is whole")
            fleet.claim(len(machine.reloads()) == reloads, f"{where.name}: nothing was reloaded")
            filler.unlink()
            with fleet.recovers(5, "space was made"):
                files.applied(tag)
            machine.holds(1, where.name)
        # The command of the reload fills the disk, so that the agent cannot note its success.
        machine.hook(
            "reload", f"test -e filled || head -c 3000000 /dev/zero > {state}/filler 2>/dev/null; touch filled"
        )
        tag = files.publish(number=2)
        files.applied(tag)
        machine.holds(2, "the marker cannot be written")
        reloads = len(machine.reloads())
        fleet.until(lambda: b"cannot be written" in files.ready().body, "said in /ready", PATIENCE)
        (state / "filler").unlink()
        fleet.until(lambda: b"cannot be written" not in files.ready().body, "the marker is written", PATIENCE)
        fleet.claim(len(machine.reloads()) == reloads, "no reload for a marker")
        # A roll-back needs no space.
        machine.hook("test", f"head -c 3000000 /dev/zero > {place}/filler 2>/dev/null; exit 3")
        files.publish(number=3)
        files.failed("The previous file is back.")
        machine.holds(2, "rolled back on a full disk")
        files.agent.stop(signal.SIGKILL)
        machine.hook("test", "")
        (place / "filler").unlink()
        files.agent.start()
        machine.settles()
        machine.holds(3, "space was made")
        (machine.place / "filler").unlink(missing_ok=True)
        machine.alone()


@row(
    "F-73",
    "FILE: places that refuse, and odd files",
    "read-only, no permission, bind mount, symbolic link, FIFO, folder removed, ACL",
    "one sentence at the start, or applying with the reason; heals; links are not followed",
    agents=0,
    needs=("namespace", "setpriv"),
)
def odd_places(fleet: FaultHarness) -> None:
    with small_disk(fleet.folder / "place") as place:
        machine = Machine(fleet, place / "inner")
        files = machine.files
        other = Path(files.place("other/other", "of another program"))
        _refused_starts(machine, other)
        machine.file.write_text("old")
        os.setxattr(machine.file, "system.posix_acl_access", _acl(12345))
        machine.start(before=_WITHOUT_OVERRIDE)
        fleet.claim(os.getxattr(machine.file, "system.posix_acl_access") == _acl(12345, mask=0), "the ACL is kept")
        number = 1
        for reason, obstacle in (
            ("Permission denied.", _forbidden(machine.place)),
            ("Read-only file system.", _read_only(place)),
            ("Device or resource busy.", _mounted(machine.file, other)),
            ("No such file or directory.", _removed(machine.place)),
        ):
            with obstacle:
                tag = files.publish(number=number)
                files.applying(reason)
                # Another attempt can be under way.
                fleet.until(lambda: not list(place.glob("*/.confd-*")), "nothing is left of an attempt", PATIENCE)
            with fleet.recovers(5, f"after {reason}"):
                files.applied(tag)
            machine.holds(number, reason)
            number += 1
        for odd in (lambda: machine.file.symlink_to(other), lambda: os.mkfifo(machine.file)):
            reloads = len(machine.reloads())
            machine.file.unlink()
            odd()
            # The repair is over when the program has read the file.
            fleet.until(lambda reloads=reloads: len(machine.reloads()) > reloads, "repaired", PATIENCE)  # type: ignore[misc]
            fleet.claim(machine.file.is_file() and not machine.file.is_symlink(), "a file of its own")
        machine.settles()
        fleet.claim(other.read_text() == "of another program", "no link was followed")
        machine.alone()
        files.agent.stop()
        _in_place(machine, other)


#: A root whom the modes of files bind, as they bind other users.
_WITHOUT_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def _in_place(machine: Machine, source: Path) -> None:
    """Claim that an agent overwrites a mounted file where the operator says so, and puts it back in place."""
    mounted = machine.place / "mounted.json"
    mounted.touch()
    with _mounted(mounted, source):
        tag = machine.files.publish(number=100)
        machine.files.start(
            *("--file-path", str(mounted), "--file-in-place", "true", "--cache-file", "in-place.cache"),
            *("--file-test", f"{machine.program}/program test", "--file-retry", "0"),
        )
        machine.files.applied(tag)
        machine.harness.claim('"number": 100' in source.read_text(), "the mounted file is overwritten")
        machine.hook("test", "exit 3")
        machine.files.publish(number=101)
        machine.files.failed("The previous file is back.")
        machine.harness.claim('"number": 100' in source.read_text(), "the mounted file is put back")
        machine.hook("test", "")
        machine.files.agent.stop()
    mounted.unlink()


def _refused_starts(machine: Machine, other: Path) -> None:
    """Start agents whose file is none, and claim that each says so in one sentence."""
    link, fifo, mounted = (machine.place / each for each in ("link.json", "fifo.json", "mounted.json"))
    link.symlink_to(other)
    os.mkfifo(fifo)
    mounted.touch()
    with _mounted(mounted, other):
        for number, (path, words) in enumerate(
            (
                (link, "is not a regular file; name the file itself."),
                (fifo, "is not a regular file; name the file itself."),
                (machine.place, "is not a regular file; name the file itself."),
                (mounted, "is a mount point; mount its folder instead, or set FILE_IN_PLACE=true."),
            )
        ):
            options = ("--outputs", "FILE", "--file-format", "json", "--file-path", str(path))
            process = machine.files.fleet.agent("http://127.0.0.1:1", f"refused-{number}", *options)
            process.start(wait=False)
            machine.harness.until(process.gone, "refused", PATIENCE)
            machine.harness.claim(f"FILE_PATH: {path} {words}" in process.log, f"{path.name}: {process.log[-300:]}")
    for each in (link, fifo, mounted):
        each.unlink()


def _acl(user: int, mask: int = 4) -> bytes:
    """Return the attribute of an ACL that lets a user read, as far as the mask does."""
    nobody = 0xFFFFFFFF
    entries = ((1, 6, nobody), (2, 4, user), (4, 0, nobody), (16, mask, nobody), (32, 0, nobody))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)


@contextmanager
def _forbidden(folder: Path) -> Iterator[None]:
    folder.chmod(0o555)
    yield
    folder.chmod(0o755)


@contextmanager
def _read_only(place: Path) -> Iterator[None]:
    call("mount", "-o", "remount,ro", str(place))
    yield
    call("mount", "-o", "remount,rw", str(place))


@contextmanager
def _mounted(file: Path, source: Path) -> Iterator[None]:
    call("mount", "--bind", str(source), str(file))
    try:
        yield
    finally:
        call("umount", str(file))


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    away = folder.rename(folder.with_name("away"))
    yield
    away.rename(folder)


@row(
    "F-74",
    "FILE: commands that fork, hang, flood, crash or vanish",
    "hooks in the test and reload commands; a template that others can change",
    "one sentence; the old file is back; no secret in the environment; memory is bounded",
    agents=0,
)
def odd_commands(fleet: FaultHarness) -> None:
    machine = Machine(fleet)
    files, program = machine.files, machine.program / "program"
    template = Path(files.place("app.json.j2", "{{ doc|json }}"))
    machine.start("--file-template", str(template))
    before = resident(files.agent.pid)
    for number, (what, hook, words) in enumerate(
        (
            ("hangs", "sleep 300 & echo $! > child; sleep 300", "did not end within 5 s and was killed."),
            ("floods", "head -c 100000000 /dev/zero | tr '\\0' x; exit 3", "ended with status 3: xxxx"),
            (
                "no UTF-8",
                "printf '\\377\\033[31mred\\000\\n'; exit 3",
                "ended with status 3: \ufffd [31mred. The previous",
            ),
            ("crashes", "kill -11 $$", "was ended by signal 11."),
        ),
        1,
    ):
        machine.hook("test", hook)
        files.publish(number=number)
        said = files.failed(words)
        fleet.claim("The previous file is back." in said and len(said) < 1500, f"{what}: {said}")
        machine.holds(0, what)
        machine.hook("test", "")
    child = int((machine.program / "child").read_text())
    fleet.until(lambda: not Path(f"/proc/{child}").exists(), "the process group is gone", PATIENCE)
    grown = (resident(files.agent.pid) - before) / 2**20
    fleet.claim(grown < 32, f"memory grew by {grown:.0f} MiB")
    _untrusted(machine, program, template)
    machine.hook("reload", "env > environment; sleep 300 & echo $! > child")
    began = time.monotonic()
    files.applied(files.publish(number=8))
    fleet.at_most(time.monotonic() - began, 3, "a command that leaves a process behind")
    os.kill(int((machine.program / "child").read_text()), signal.SIGKILL)
    pairs = dict(line.partition("=")[::2] for line in (machine.program / "environment").read_text().splitlines())
    strange = {name for name in pairs if name not in _ENVIRONMENT}
    fleet.claim(not strange, f"the environment has {sorted(strange)}")
    machine.holds(8, "forks")


#: What a command may find in its environment; a shell adds the last ones.
_ENVIRONMENT = {
    "PATH", "LANG", "CONFD_FILE", "CONFD_TAG", "CONFD_VERSION", "CONFD_NAMESPACE", "CONFD_PREVIOUS_TAG", "PWD",
    "OLDPWD", "SHLVL", "_",
}  # fmt: skip


def _untrusted(machine: Machine, program: Path, template: Path) -> None:
    """Let others change what the agent runs and renders from, and take the program away."""
    files, reloads = machine.files, len(machine.reloads())
    for number, (path, mode, words) in enumerate(
        (
            (template, 0o666, f"The template {template} can be changed by others"),
            (program, 0o777, f"{program} can be changed by others"),
            (program, 0o644, f"{program} is not an executable file."),
        ),
        5,
    ):
        kept = path.stat().st_mode & 0o777
        path.chmod(mode)
        files.publish(number=number)
        files.failed(words)
        machine.holds(0, words)
        machine.harness.claim(len(machine.reloads()) == reloads, f"nothing was run: {words}")
        path.chmod(kept)


@row(
    "F-75",
    "FILE: another tool fights, and stops at bad moments",
    "a writer of the same file; SIGTERM during a command and during a splay",
    "at most 4 repairs a minute; stops within 10 s; the reload that is owed follows",
    agents=0,
)
def fights_and_stops(fleet: FaultHarness) -> None:
    machine = Machine(fleet)
    files = machine.files
    machine.start()
    before = len(machine.reloads())

    def fought() -> bool:
        machine.file.write_text("{}")
        return "Another process changes" in (files.report()["error"] or "")

    fleet.until(fought, "a fight", PATIENCE)
    repairs = len(machine.reloads()) - before
    fleet.claim(repairs <= 4, f"{repairs} repairs")
    fleet.claim(files.report()["state"] == "applying", "a fight is reported as applying")
    tag = files.publish(number=1)
    files.applied(tag)
    machine.holds(1, "a new version ends the fight")
    machine.hook("reload", "sleep 300 & echo $! > child; sleep 300")
    tag = files.publish(number=2)
    fleet.until((machine.program / "child").exists, "a command under way", PATIENCE)
    began = time.monotonic()
    fleet.claim(files.agent.stop() == 0, "status 0")
    fleet.at_most(time.monotonic() - began, 10, "stopped during a command")
    child = int((machine.program / "child").read_text())
    fleet.until(lambda: not Path(f"/proc/{child}").exists(), "the process group is gone", PATIENCE)
    machine.hook("reload", "")
    files.agent.start()
    files.applied(tag)
    machine.holds(2, "after a stop during a command")
    files.agent.stop()
    files.agent.arguments += ["--file-splay", "600"]
    files.agent.start()
    files.publish(number=3)
    staged = machine.place / ".confd-new.app.json"
    fleet.until(staged.exists, "staged", PATIENCE)
    began = time.monotonic()
    files.agent.stop()
    fleet.at_most(time.monotonic() - began, 5, "stopped during a splay")
    machine.holds(2, "a splay that ended")
    machine.alone()


@row(
    "F-76",
    "FILE: 1,000 publishes",
    "one after the other, with a reload of 0.2 s",
    "few reloads, never two at once; the newest is applied",
    agents=0,
)
def many_publishes(fleet: FaultHarness) -> None:
    machine = Machine(fleet)
    machine.start()
    (machine.program / "slow").touch()
    tag = ""
    for number in range(1, 1001):
        tag = machine.files.publish(number=number)
    machine.files.applied(tag)
    machine.holds(1000, "the newest")
    machine.alone()
    reloads = len(machine.reloads())
    fleet.claim(reloads <= 500, f"{reloads} reloads for 1,000 publishes")
