"""The machine that a benchmark runs on: its cores, the costs of its processes, and its programs."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from tests.integration.fleet import children
from tests.integration.servers import missing

#: Programs of a machine, and the command that prints the version of each.
_PROGRAMS = {"redis-server": "-v", "nats-server": "-v", "etcd": "--version", "nginx": "-v", "wrk": "-v"}


class Invalid(Exception):
    """The run is invalid: a process did not start, or did not answer as it should."""


@contextlib.contextmanager
def on_core(number: int) -> Iterator[None]:
    """Pin the processes that start in this context to a core, if the system allows it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def processor_time(pid: int) -> float:
    """Return the processor time of a process and its children in seconds, user and system."""
    stats = [Path(f"/proc/{each}/stat").read_text() for each in (pid, *children(pid))]
    fields = [stat.rpartition(")")[2].split() for stat in stats]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """Return a description of the machine and its programs."""
    parts = [f"{os.cpu_count()} cores", f"{platform.system()} {platform.release()}"]
    parts += [f"Python {platform.python_version()}", f"Twisted {version('twisted')}"]
    for name, option in _PROGRAMS.items():
        if missing(name) is None:
            told = subprocess.run([name, option], capture_output=True, text=True, timeout=20)
            found = re.search(r"[0-9]+\.[0-9][0-9.]*", told.stdout + told.stderr)
            parts.append(f"{name} {found[0] if found else '?'}")
    return ", ".join(parts)
