"""Freezes in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from attrs import evolve
from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd.access.freezes import Freeze, unknown_freeze
from confd.audit import Attempt
from confd.changes import FREEZE, Committed
from confd.controller.interfaces import IFreezeStore
from confd.controller.store.change_log import Written
from confd.controller.store.database import describe_freeze
from confd.model import Draft, Revision
from confd.testing.memory_rows import Rows


@implementer(IFreezeStore)
class FreezeRows(Rows):
    """The part of a L{confd.testing.memory.MemoryStore} that keeps freezes."""

    _current_of: Callable[[str], Revision]
    _fates: dict[tuple[str, int], tuple[int, str]]

    def __init__(self) -> None:
        super().__init__()
        self._freezes: list[Freeze] = []

    def freezes(self) -> Deferred[Sequence[Freeze]]:
        return execute(lambda: [each for each in self._freezes if each.removed_at is None])

    def add_freeze(self, freeze: Freeze, attempt: Attempt | None = None) -> Deferred[Committed[Freeze]]:
        return self._audited(attempt, describe_freeze, self._add_freeze, freeze)

    def remove_freeze(self, number: int, at: datetime, attempt: Attempt | None = None) -> Deferred[Committed[Freeze]]:
        return self._audited(attempt, describe_freeze, self._remove_freeze, number, at)

    def _add_freeze(self, freeze: Freeze) -> Written[Freeze]:
        added = evolve(freeze, id=len(self._freezes) + 1)
        self._freezes.append(added)
        return Written(added, [(FREEZE, str(added.id), added)])

    def _remove_freeze(self, number: int, at: datetime) -> Written[Freeze]:
        if not 0 < number <= len(self._freezes) or self._freezes[number - 1].removed_at is not None:
            raise unknown_freeze(number)
        removed = self._freezes[number - 1] = evolve(self._freezes[number - 1], removed_at=at)
        return Written(removed, [(FREEZE, str(number), removed)])

    def _undoes(self, draft: Draft) -> bool:
        current = self._current_of(draft.namespace)
        if draft.rollback_of is None or current.rollback_of is not None:
            return False
        older = range(1, current.configuration.version)
        fates = {version: self._fates.get((draft.namespace, version), (0, "activated"))[1] for version in older}
        return draft.rollback_of == max((each for each, fate in fates.items() if fate == "activated"), default=None)
