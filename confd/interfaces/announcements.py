"""Who announces a version, where several controllers have the same brokers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Interface

#: Seconds after which an announcement is late, and after which the claim of another controller is.
LATE_SECONDS, CLAIMED_SECONDS = 1.0, 5.0

#: Announcements that a controller claims at a time.
MAX_CLAIMED = 100


@frozen
class Claim:
    """
    An announcement that a broker does not have.

    @ivar seq: number of the change that it announces.
    """

    broker: str
    namespace: str
    seq: int


class IAnnouncements(Interface):
    """
    The announcements that brokers still need.

    The controller that commits a change announces it. Another controller claims an announcement that is late. A claim
    keeps nobody out: an announcement that is made twice does no harm. A store of a single controller keeps no list.
    """

    def announce_to(brokers: Sequence[str]) -> None:
        """Note for brokers, by name, the changes that follow; called before the start."""

    def is_own(seq: int) -> bool:
        """Return whether this controller committed a change, and announces it."""

    def claim(brokers: Collection[str], applied: int, late: float = LATE_SECONDS) -> Deferred[Sequence[Claim]]:
        """
        Claim announcements that are late, L{MAX_CLAIMED} at most; nobody else gets them for L{CLAIMED_SECONDS}.

        @param applied: number of the last change that this controller applied; it claims nothing above.
        @param late: seconds from a change.
        """

    def announced(done: Mapping[tuple[str, str], int]) -> Deferred[None]:
        """
        Note that brokers have announcements.

        @param done: number of the change, by the name of the broker and the namespace.
        """
