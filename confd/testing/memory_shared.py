"""One store that forgets, for several controllers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from confd.changes import IDENTITY, KEYS, REVISION
from confd.errors import Unavailable
from confd.interfaces.announcements import CLAIMED_SECONDS, LATE_SECONDS, MAX_CLAIMED, Claim
from confd.interfaces.controllers import ControllerRecord, IControllers
from confd.reports import HeardElsewhere
from confd.testing.memory import MemoryStore

T = TypeVar("T")


@define(eq=False)
class _Row:
    """See the table C{announcements}; times are those of the monotonic clock."""

    seq: int = 0
    done: int = 0
    changed_at: float = 0.0
    claimed_at: float | None = None

    def is_late(self, applied: int, now: float, late: float) -> bool:
        """Return whether to claim it."""
        waits = self.done < self.seq <= applied and self.changed_at <= now - late
        return waits and (self.claimed_at is None or self.claimed_at < now - CLAIMED_SECONDS)


@define(eq=False)
class SharedMemory:
    """
    What the L{SharedMemoryStore}s of a test have in common.

    @ivar controllers: how many run.
    @ivar hinting: whether a change of one store hints the others, as NOTIFY does.
    """

    store: MemoryStore
    seconds: Callable[[], float] = lambda: 0.0
    hinting: bool = True
    controllers: int = 1
    rows: dict[tuple[str, str], _Row] = field(factory=dict, init=False)
    hints: list[Callable[[], object]] = field(factory=list, init=False)

    @property
    def last(self) -> int:
        """The number of the last change."""
        return self.store._log.last

    def note(self, brokers: Sequence[str], after: int) -> None:
        """Note the changes after a number that brokers are to get."""
        for change in self.store._log.since(after).changes:
            names = [change.subject] if change.kind == REVISION else []
            if change.kind in (KEYS, IDENTITY):
                names = [each.configuration.namespace for each in self.store._current()]
            for key in [(broker, name) for broker in brokers for name in names]:
                row = self.rows.setdefault(key, _Row())
                row.seq, row.changed_at, row.claimed_at = change.seq, self.seconds(), None


@implementer(IControllers)
class SharedMemoryStore:
    """
    The store of one of several controllers on a L{SharedMemory}.

    @ivar known: the controllers to tell of; C{None} where the store cannot be read.
    """

    interval: float | None = 0.25

    def __init__(self, memory: SharedMemory) -> None:
        self._memory, self._brokers = memory, list[str]()
        self._own = set[int]()
        self.known: Sequence[ControllerRecord] | None = ()
        self._hint: Callable[[], object] = lambda: None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._memory.store, name)
        return partial(self._call, found) if callable(found) else found

    def subscribe(self, hint: Callable[[], object]) -> None:
        """Call C{hint} after each change."""
        self._hint = hint
        self._memory.hints.append(hint)

    def heard(self) -> Deferred[HeardElsewhere]:
        """Fire with no polls of others."""
        return succeed(HeardElsewhere(controllers=self._memory.controllers))

    def show_passwords(self, passwords: Mapping[str, str]) -> None:
        pass

    def controllers(self) -> Deferred[Sequence[ControllerRecord]]:
        if self.known is None:
            return fail(Unavailable("storage_unavailable", "The database is away."))
        return succeed(self.known)

    def announce_to(self, brokers: Sequence[str]) -> None:
        self._brokers = list(brokers)

    def is_own(self, seq: int) -> bool:
        return seq in self._own

    def claim(self, brokers: Collection[str], applied: int, late: float = LATE_SECONDS) -> Deferred[Sequence[Claim]]:
        now = self._memory.seconds()
        waiting = sorted(self._memory.rows.items(), key=lambda row: row[1].changed_at)
        found = [(key, row) for key, row in waiting if key[0] in brokers and row.is_late(applied, now, late)]
        for _, row in found[:MAX_CLAIMED]:
            row.claimed_at = now
        return succeed([Claim(*key, row.seq) for key, row in found[:MAX_CLAIMED]])

    def announced(self, done: Mapping[tuple[str, str], int]) -> Deferred[None]:
        for key, seq in done.items():
            self._memory.rows[key].done = max(self._memory.rows[key].done, seq)
        return succeed(None)

    def _call(self, method: Callable[..., T], *arguments: object, **named: object) -> T:
        before = self._memory.last
        result = method(*arguments, **named)
        made = range(before + 1, self._memory.last + 1)
        if made:
            self._own.update(made)
            self._memory.note(self._brokers, before)
            for each in self._memory.hints if self._memory.hinting else [self._hint]:
                each()
        return result
