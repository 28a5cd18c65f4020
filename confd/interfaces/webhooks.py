"""The queues of events for the receivers of webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Interface

if TYPE_CHECKING:
    from confd.audit import Attempt

#: The kinds of events.
EVENTS = ("published", "rolled_back", "converged", "failed", "stalled", "rollout", "namespace", "login_lockout")

#: Events that the queue of a receiver holds, the hours after which an event is dropped, and the seconds for which a
#: controller holds a queue.
MAX_QUEUED, MAX_QUEUED_HOURS, HOLD_SECONDS = 1000, 24, 60


@frozen
class Occurrence:
    """
    An event that is sent at most once, also after a restart and by several controllers.

    @ivar kind: of the event, such as C{failed}.
    @ivar version: of the namespace, or the id of a rollout. The event of an older version is not sent.
    @ivar count: grows with each event of one version.
    """

    kind: str
    namespace: str
    version: int
    count: int = 0


@frozen
class QueueState:
    """
    The queue of a receiver.

    @ivar waiting: number of events.
    @ivar oldest_at: when the oldest event was queued, UTC; C{None} for an empty queue.
    @ivar dropped: events that were deleted unsent so far.
    @ivar head: number and body of the event to send; C{None} if the queue is empty, or another controller sends.
    """

    waiting: int = 0
    oldest_at: datetime | None = None
    dropped: int = 0
    head: tuple[int, bytes] | None = None


class IWebhookStore(Interface):
    """Events that wait for receivers, durable; each receiver gets them in the order of their transactions."""

    def queue_changes(
        receivers: int,
        describe: Callable[[tuple[str, str, object], Attempt | None], Sequence[bytes]],
        now: Callable[[], datetime],
    ) -> None:
        """
        Queue events of changes from now on, each in the transaction of its change.

        @param receivers: number of receivers; each has a queue of its own.
        @param describe: returns the bodies of the events of a change: kind, subject and value. It runs in the thread of
            the database.
        @param now: the wall clock.
        """

    def queue_event(body: bytes, at: datetime, once: Occurrence | None = None) -> Deferred[bool]:
        """Queue an event for each receiver; fires with false if C{once} was queued before."""

    def advance(receiver: int, done: int | None, holder: str, at: datetime) -> Deferred[QueueState]:
        """
        Delete an event that was sent, and fire with the state of the queue. A queue that is not empty belongs to its
        holder for L{HOLD_SECONDS}.

        @param done: number of the event; C{None} to delete none. Events that are too old are deleted in any case.
        @param holder: the controller that asks.
        """
