"""What a store does that only one controller uses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from confd.interfaces.announcements import LATE_SECONDS, Claim
from confd.interfaces.controllers import ControllerRecord, IControllers
from confd.reports import HeardElsewhere


@implementer(IControllers)
class SoleController:
    """Says for a store that no other controller uses it."""

    def heard(self) -> Deferred[HeardElsewhere]:
        """Fire with no polls of others."""
        return succeed(HeardElsewhere())

    def show_passwords(self, passwords: Mapping[str, str]) -> None:
        pass

    def controllers(self) -> Deferred[Sequence[ControllerRecord]]:
        return succeed(())

    def announce_to(self, brokers: Sequence[str]) -> None:
        pass

    def is_own(self, seq: int) -> bool:
        return True

    def claim(self, brokers: Collection[str], applied: int, late: float = LATE_SECONDS) -> Deferred[Sequence[Claim]]:
        return succeed(())

    def announced(self, done: Mapping[tuple[str, str], int]) -> Deferred[None]:
        return succeed(None)
