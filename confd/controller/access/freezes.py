"""The freezes that a controller knows, kept in memory; they follow the change feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.access.freezes import ActiveFreezes, Freeze, Weekly, Window
from confd.audit import Attempt
from confd.changes import FREEZE, Change, Committed, Contents
from confd.controller.interfaces import IFreezeStore
from confd.interfaces import IChangeListener


@implementer(IChangeListener)
@define(eq=False)
class Freezes:
    """
    Shows and changes freezes. The store refuses what a freeze forbids: see L{IFreezeStore}.

    @ivar now: the wall clock.
    @ivar is_exempt: returns whether a namespace ignores freezes.
    """

    _store: IFreezeStore
    now: Callable[[], datetime]
    _is_exempt: Callable[[str], bool]
    _known: dict[int, Freeze] = field(factory=dict, init=False)

    async def load_rows(self) -> None:
        """Read all freezes."""
        self._known = {each.id: each for each in await self._store.freezes()}

    def load(self, contents: Contents) -> None: ...

    def apply(self, change: Change) -> None:
        if change.kind == FREEZE:
            freeze: Freeze = change.value
            self._known.pop(freeze.id, None)
            if freeze.removed_at is None:
                self._known[freeze.id] = freeze

    def all(self) -> Sequence[Freeze]:
        """Return the freezes by id, without freezes that are over."""
        now = self.now()
        return [each for _, each in sorted(self._known.items()) if each.window(now) is not None]

    def active(self, namespace: str) -> ActiveFreezes:
        """Return the freezes that hold a namespace now."""
        return self.active_at(namespace, self.now())

    def active_at(self, namespace: str, moment: datetime) -> ActiveFreezes:
        """Return the freezes that hold a namespace at a moment, as far as they are known now."""
        known = () if self._is_exempt(namespace) else self._known.values()
        return ActiveFreezes.of(known, namespace, moment)

    def frozen_until(self, namespace: str) -> datetime | None:
        """Return when the freeze of a namespace ends, as far as it is known; C{None} while none is active."""
        return self.active(namespace).until

    def add(
        self, namespaces: Sequence[str], reason: str, active: Window | Weekly, attempt: Attempt
    ) -> Deferred[Committed[Freeze]]:
        """
        Add a freeze: see L{IFreezeStore.add_freeze}.

        @param active: when the freeze is active.
        """
        once, weekly = (active, None) if isinstance(active, Window) else (None, active)
        freeze = Freeze(0, tuple(namespaces), reason, attempt.who, self.now(), once, weekly)
        added: Deferred[Committed[Freeze]] = self._store.add_freeze(freeze, attempt)
        return added

    def remove(self, number: int, attempt: Attempt) -> Deferred[Committed[Freeze]]:
        """Remove a freeze: see L{IFreezeStore.remove_freeze}."""
        removed: Deferred[Committed[Freeze]] = self._store.remove_freeze(number, self.now(), attempt)
        return removed

    def get(self, number: int) -> Freeze | None:
        """Return a freeze, C{None} if it does not exist or was removed."""
        return self._known.get(number)
