"""Rows of the fault suite, and their outcomes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from attrs import define, field, frozen

from tests.controller.store.postgres.pooler import why_missing as pgbouncer_missing
from tests.controller.store.postgres.server import why_missing as postgres_missing
from tests.faults.harness import FaultHarness
from tests.integration.fleet import has_ipv6
from tests.integration.kafka import why_not as kafka_missing
from tests.integration.servers import missing as server_missing

#: The library of Debian that falsifies the clock of a process.
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)

#: The memory controller of cgroup version 1.
CGROUP = Path("/sys/fs/cgroup/memory")


def _no_namespace() -> str | None:
    return (
        None if os.environ.get("CONFD_FAULTS_INSIDE") else "needs root, for a network and mounts of its own (unshare)"
    )


def _tool(name: str) -> Callable[[], str | None]:
    return lambda: server_missing(name)


#: The tools that rows need. Each entry returns why the tool is missing, or C{None}.
NEEDS: dict[str, Callable[[], str | None]] = {
    "namespace": _no_namespace,
    "ipv6": lambda: None if has_ipv6() else "this machine has no IPv6 loopback",
    "strace": _tool("strace"),
    "iptables": _tool("iptables"),
    "tc": _tool("tc"),
    "mkfs.ext4": _tool("mkfs.ext4"),
    "redis-server": _tool("redis-server"),
    "nats-server": _tool("nats-server"),
    "kafka-server": kafka_missing,
    "postgres": postgres_missing,
    "pgbouncer": pgbouncer_missing,
    "prlimit": _tool("prlimit"),
    "setpriv": _tool("setpriv"),
    "faketime": lambda: None if FAKETIME else "libfaketime is not installed (Debian: apt install faketime)",
    "cgroup": lambda: None if (CGROUP / "cgroup.procs").exists() and os.access(CGROUP, os.W_OK) else f"no {CGROUP}",
}


@frozen
class Row:
    """
    A fault, its injection and its bar.

    @ivar id: The name in tables.
    @ivar how: How the fault is injected.
    @ivar bar: What must hold in addition to the promises G1 to G3, which every row is checked for.
    @ivar run: Injects the fault once, and records its claims in the history of the fleet.
    @ivar rounds: How many times to run the row.
    @ivar needs: Names of L{NEEDS}.
    @ivar quick: Whether C{make test} runs the row.
    @ivar strategy: The strategy of the agents.
    @ivar kind: The kind of the broker: see L{tests.faults.run}; by default the strategy.
    @ivar agents: The number of agents.
    @ivar options: Options of the controller.
    @ivar most: Seconds after which a round is given up.
    @ivar why_not: Why the row cannot run anywhere yet.
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
    kind: str = ""

    def missing(self) -> str | None:
        """Return why the row cannot run here, or C{None}."""
        needs = self.needs
        if self.strategy in ("REDIS", "NATS", "KAFKA"):
            needs += (f"{self.strategy.lower()}-server",)
        return self.why_not or next((why for each in needs if (why := NEEDS[each]())), None)


def row(
    number: str, title: str, how: str, bar: str, **details: object
) -> Callable[[Callable[[FaultHarness], None]], Row]:
    """Return a decorator that makes a function a L{Row}."""
    return lambda run: Row(number, title, how, bar, run, **details)  # type: ignore[arg-type]


def rows_of(modules: Iterable[ModuleType]) -> list[Row]:
    """Return all rows that modules define."""
    found: list[Row] = []
    for module in modules:
        for value in vars(module).values():
            found += [value] if isinstance(value, Row) else value if isinstance(value, Rows) else []
    return found


class Rows(list[Row]):
    """Rows that one function made."""


@define(eq=False)
class Outcome:
    """
    The outcome of a row.

    @ivar violations: One sentence for each violation.
    @ivar recovery: Seconds of the slowest recovery; 0 without one.
    @ivar why_not: Why the row did not run.
    @ivar kept: Folders of rounds with a violation.
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
        """The outcome in a few words."""
        if self.why_not is not None:
            return f"not run: {self.why_not}"
        return "violated" if self.violations else "kept"


def clean_up(folder: Path, keep: bool) -> None:
    """Remove the folder of a round, unless it is kept."""
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
