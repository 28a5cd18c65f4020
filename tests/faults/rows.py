"""What a row of the fault suite is, and what became of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from attrs import define, field, frozen

from tests.faults.harness import FaultHarness
from tests.integration.fleet import has_ipv6
from tests.integration.servers import missing as server_missing

#: Where Debian keeps what is loaded into processes whose clock lies.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)

#: Where the kernel's first hierarchy of control groups has its limits of memory.
CGROUP = Path("/sys/fs/cgroup/memory")


def _no_namespace() -> str | None:
    return (
        None if os.environ.get("CONFD_FAULTS_INSIDE") else "needs root, for a network and mounts of its own (unshare)"
    )


def _tool(name: str) -> Callable[[], str | None]:
    return lambda: server_missing(name)


#: What rows need: why it is not there, or C{None}.
NEEDS: dict[str, Callable[[], str | None]] = {
    "namespace": _no_namespace,
    "ipv6": lambda: None if has_ipv6() else "this machine has no IPv6 loopback",
    "strace": _tool("strace"),
    "iptables": _tool("iptables"),
    "tc": _tool("tc"),
    "mkfs.ext4": _tool("mkfs.ext4"),
    "redis-server": _tool("redis-server"),
    "nats-server": _tool("nats-server"),
    "prlimit": _tool("prlimit"),
    "faketime": lambda: None if FAKETIME else "libfaketime is not installed (Debian: apt install faketime)",
    "cgroup": lambda: None if (CGROUP / "cgroup.procs").exists() and os.access(CGROUP, os.W_OK) else f"no {CGROUP}",
}


@frozen
class Row:
    """
    One fault.

    @ivar id: its name in tables.
    @ivar how: how it is injected.
    @ivar bar: what must hold beside the promises G1 to G3, which the history of every row is judged by.
    @ivar run: injects it once, and claims what it found in the history of its fleet.
    @ivar rounds: how many times.
    @ivar needs: names of L{NEEDS}.
    @ivar quick: whether it is one of those that run with all other tests.
    @ivar strategy: of the agents.
    @ivar agents: how many there are.
    @ivar options: of the controller.
    @ivar most: seconds after which a round is given up.
    @ivar why_not: why it cannot run anywhere yet.
    """

    id: str
    title: str
    how: str
    bar: str
    run: Callable[[FaultHarness], None]
    rounds: int = 1
    needs: tuple[str, ...] = ()
    quick: bool = False
    strategy: str = "POLLER"
    agents: int = 1
    options: tuple[str, ...] = ()
    most: int = 180
    why_not: str | None = None

    def missing(self) -> str | None:
        """Why it cannot run here."""
        needs = self.needs
        if self.strategy in ("REDIS", "NATS"):
            needs += (f"{self.strategy.lower()}-server",)
        return self.why_not or next((why for each in needs if (why := NEEDS[each]())), None)


def row(
    number: str, title: str, how: str, bar: str, **details: object
) -> Callable[[Callable[[FaultHarness], None]], Row]:
    """Make a function a L{Row}."""
    return lambda run: Row(number, title, how, bar, run, **details)  # type: ignore[arg-type]


def rows_of(modules: Iterable[ModuleType]) -> list[Row]:
    """All rows that modules define."""
    found: list[Row] = []
    for module in modules:
        for value in vars(module).values():
            found += [value] if isinstance(value, Row) else value if isinstance(value, Rows) else []
    return found


class Rows(list[Row]):
    """Rows that were made in one go."""


@define(eq=False)
class Outcome:
    """
    What became of a row.

    @ivar violations: a sentence each.
    @ivar recovery: seconds of the slowest recovery, where anything had to recover.
    @ivar why_not: why it did not run.
    @ivar kept: folders of rounds that went wrong.
    """

    row: Row
    runs: int = 0
    violations: list[str] = field(factory=list)
    recovery: float = 0.0
    took: float = 0.0
    why_not: str | None = None
    kept: list[str] = field(factory=list)

    @property
    def verdict(self) -> str:
        """In one word or two."""
        if self.why_not is not None:
            return f"not run: {self.why_not}"
        return "violated" if self.violations else "kept"


def clean_up(folder: Path, keep: bool) -> None:
    """Remove what a round left, unless somebody wants to look at it."""
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
