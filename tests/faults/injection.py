"""The ways in which faults are injected; what they change is gone with the namespace or the process."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.rows import CGROUP, FAKETIME
from tests.integration.fleet import eventually


def call(*command: str) -> None:
    """Run a tool to its end."""
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@contextmanager
def small_disk(where: Path, size: str = "2m") -> Iterator[Path]:
    """A file system of so many bytes."""
    where.mkdir(exist_ok=True)
    call("mount", "-t", "tmpfs", "-o", f"size={size}", "confd-faults", str(where))
    try:
        yield where
    finally:
        call("umount", "--lazy", str(where))


def fill(where: Path) -> Path:
    """Leave no byte free; returns what takes the place."""
    filler = where / "filler"
    with filler.open("wb", buffering=0) as file:
        for piece in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"x" * piece)
            except OSError:
                continue
    return filler


@contextmanager
def disk_image(image: Path, where: Path) -> Iterator[Path]:
    """A file system that is a file, whose copy is what a power cut leaves."""
    where.mkdir(exist_ok=True)
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(24 * 2**20)
        call("mkfs.ext4", "-q", "-F", str(image))
    # Nothing but a sync writes: the journal does not come along by itself in the middle of a copy.
    call("mount", "-o", "loop,commit=300", str(image), str(where))
    try:
        yield where
    finally:
        call("umount", str(where))


@contextmanager
def halted(pid: int) -> Iterator[None]:
    """Hold a process in its tracks, so that a copy of its disk is of one moment."""
    os.kill(pid, signal.SIGSTOP)
    try:
        tasks = Path(f"/proc/{pid}/task")
        eventually(lambda: all(") T " in (each / "stat").read_text() for each in tasks.iterdir()))
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def strace(folder: Path, calls: str, inject: str) -> list[str]:
    """
    What stands before a command that meets faults in its system calls.

    The tracer is not the parent, so that the process is killed and waited for as any other.
    """
    options = ["-f", "-qq", "-D", "-e", "signal=none", "-o", str(folder / "strace.out")]
    if not inject.startswith("signal"):
        # The cheap way to stop at a few system calls; signals are lost on it.
        options.append("--seccomp-bpf")
    return ["strace", *options, "-e", f"trace={calls}", "-e", f"inject={calls}:{inject}"]


@contextmanager
def rule(*words: str) -> Iterator[None]:
    """What the network does to packets that arrive."""
    call("iptables", "-A", "INPUT", *words)
    try:
        yield
    finally:
        call("iptables", "-D", "INPUT", *words)


def lying_clock(folder: Path, offset: str) -> dict[str, str]:
    """The environment of a process whose wall clock is off, and jumps whenever the file is written."""
    jump(folder, offset)
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "faketime"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def jump(folder: Path, offset: str) -> None:
    """Let the wall clock jump."""
    fresh = folder / "faketime.new"
    fresh.write_text(f"{offset}\n")
    fresh.replace(folder / "faketime")


@contextmanager
def memory_group() -> Iterator[Path]:
    """A control group whose memory can be limited; it ends once those in it have ended."""
    group = CGROUP / f"confd-faults-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        eventually(lambda: not (group / "cgroup.procs").read_text().strip())
        group.rmdir()


def limit_memory(group: Path, more: int) -> None:
    """The kernel kills a process that makes the group hold so many bytes more than now."""
    held = int((group / "memory.usage_in_bytes").read_text())
    (group / "memory.limit_in_bytes").write_text(str(held + more))
