"""
Latest-wins delivery to the worker, and the watch over what it holds (promises G6 and G7).

One L{Periodic} does all of it, so that at most one request is under way: it delivers the newest configuration, asks
what the worker then holds, and from then on looks whether that is still so. What remains to be done is a matter of
state, not of events: nothing can be forgotten between two of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.agent.delivery import Delivery
from confd.errors import ConfdError, Conflict, Unavailable, Unprocessable
from confd.interfaces import IHealth, IWorkerClient
from confd.model import Configuration, Tag, WorkerState
from confd.reports import Report, ReportState
from confd.runtime.problem import Problem
from confd.runtime.timing import Backoff, Periodic

#: Seconds between two looks at the worker.
CHECK_INTERVAL_SECONDS = 2.0

#: Seconds between two attempts to reach it at most, so that it is put right within 5 seconds of being reachable.
RETRY_MAX_SECONDS = 4.0

#: Seconds that a delivery under way gets when the agent stops.
STOP_GRACE_SECONDS = 8.0


@implementer(IHealth)
class WorkerSync(Service):
    """
    Keeps the worker on the newest configuration that it takes.

    @ivar applied: the last one that the worker took; restored whenever the worker lost it.
    @ivar deliveries: how often each came of bringing the worker a configuration.
    @ivar verified: whether that was read back from it; a worker without GET C{/config} is taken at its 200.
    @ivar held: what the worker had when it was looked at last, by name; C{None} for nothing.
    @ivar repairs: how often a worker that no longer had what it took was put right.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        worker: IWorkerClient,
        backoff: Backoff,
        keep: Callable[[Configuration], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param backoff: between attempts to reach the worker; its cap is L{RETRY_MAX_SECONDS}.
        @param keep: called with each configuration once it is applied.
        @param changed: called when L{report} may have something else to say.
        """
        self.applied: Configuration | None = None
        self.verified = False
        self.held: Tag | None = None
        self.repairs = 0
        self.deliveries: Counter[str] = Counter({"applied": 0, "refused": 0, "failed": 0})
        self._clock = clock
        self._worker = worker
        self._backoff = backoff
        self._keep = keep
        self._changed = changed
        self._loop = Periodic(clock, self._round, self._pause, STOP_GRACE_SECONDS)
        #: Of the configuration that the worker is to have.
        self._delivery: Delivery | None = None
        #: The boot id of the worker that refused it.
        self._refused_by: str | None = None
        #: What the worker looked like when nothing was left to do; C{None} makes the next round compare.
        self._left: WorkerState | None = None
        self._reach = Problem("worker", self.log)
        self._refusal = Problem("configuration", self.log)
        self._drift = Problem("drift", self.log)

    def deliver(self, configuration: Configuration) -> None:
        """Bring the worker to this one, in place of any that is still under way."""
        self._delivery, self._refused_by = Delivery(configuration, self._clock.seconds()), None
        self._loop.hurry()
        self._changed()

    def report(self) -> Report | None:
        """What became of the one delivered last, as of now; C{None} before the first."""
        delivery = self._delivery
        if delivery is None:
            return None
        wanted, state, error = delivery.configuration, delivery.state, delivery.error
        hindrance = self._reach.reason or self._drift.reason
        if hindrance is not None and state is not ReportState.FAILED:
            state, error = ReportState.APPLYING, hindrance
        return Report(
            wanted.tag,
            state,
            error,
            verified=self.verified or state is not ReportState.APPLIED,
            holds=self.held,
            holds_cluster_id=wanted.cluster_id if self.held and self.held.cluster == wanted.tag.cluster else "",
            repairs=self.repairs,
            spent=delivery.spent(self._clock.seconds()),
        )

    def problem(self) -> str | None:
        """See L{IHealth}."""
        return self._reach.reason or self._refusal.reason

    def startService(self) -> None:
        """Begin to look after the worker."""
        super().startService()
        self._loop.startService()

    def stopService(self) -> Deferred[None] | None:
        """Fires when the delivery under way has ended, after L{STOP_GRACE_SECONDS} seconds at most."""
        super().stopService()
        return self._loop.stopService()

    # -- one round --

    def _pause(self) -> float:
        return self._backoff.next() if self._reach.reason else CHECK_INTERVAL_SECONDS

    async def _round(self) -> None:
        delivery = self._delivery
        if delivery is None:
            return
        pending = delivery.state is ReportState.APPLYING
        try:
            await (self._bring if pending else self._inspect)(delivery.configuration)
        except ConfdError as error:
            self.deliveries["failed"] += pending
            self._reach.begin(error.message)
        else:
            self._reach.end()
            self._backoff.reset()
        self._changed()

    async def _inspect(self, wanted: Configuration) -> None:
        """Put the worker right if it is no longer as it was left."""
        state = await self._worker.state()
        if self._refused_by not in (None, state.boot_id):
            # Another process: it may judge otherwise.
            await self._bring(wanted)
        elif state != self._left:
            if self.applied is not None and not await self._holds(state, self.applied):
                self.held = self._named(state)
                self._drift.begin(f"The worker no longer holds {self.applied.tag}: it is restored.")
                self._changed()
                await self._bring(self.applied)
                return
            if self.applied is not None:
                self._end_drift(self.applied)
            if state.version is not None or not (state.has_config and state.boot_id):
                self._left = state
            # Else it could name what it has, and was told something without a name: the next would not be seen.

    def _end_drift(self, restored: Configuration) -> None:
        """Count a repair, also one whose answer was lost: the worker holds what it should again."""
        if self._drift.reason is not None:
            self.repairs += 1
            self.held = restored.tag
            self._drift.end()

    async def _holds(self, state: WorkerState, configuration: Configuration) -> bool:
        if not state.has_config:
            return False
        checksum = await self._worker.checksum()
        return checksum is None or checksum == configuration.document.checksum

    def _named(self, state: WorkerState) -> Tag | None:
        """What the worker has; one that names nothing still has what it took last, unless it could."""
        if not state.has_config:
            return None
        if state.version is None:
            return self.applied.tag if self.applied is not None and not state.boot_id else None
        try:
            return Tag.parse(state.version)
        except ValueError:
            return None

    async def _bring(self, target: Configuration) -> None:
        """Deliver, and believe only what is read back."""
        self._left = None
        delivery = self._delivery_of(target)
        if delivery is not None:
            delivery.hand_over(self._clock.seconds())
        try:
            await self._worker.deliver(target)
        except (Unprocessable, Conflict) as error:
            self.deliveries["refused"] += 1
            await self._settle_refusal(target, error)
            return
        checksum = await self._worker.checksum()
        if checksum not in (None, target.document.checksum):
            raise Unavailable("worker_differs", f"The worker accepted {target.tag} and then holds another document.")
        self.deliveries["applied"] += 1
        if target is self.applied:
            self._end_drift(target)
        self._drift.end()
        self.applied, self.verified, self.held = target, checksum is not None, target.tag
        delivery = self._delivery_of(target)
        if delivery is not None:
            delivery.end(ReportState.APPLIED, self._clock.seconds())
            self._refused_by = None
            self._refusal.end()
        self.log.info("configuration {tag} is applied", tag=str(target.tag), verified=self.verified)
        self._keep(target)

    async def _settle_refusal(self, target: Configuration, error: ConfdError) -> None:
        """Leave a worker alone that refused; what it had before stays in force, or is restored next (promise G7)."""
        state = await self._worker.state()
        if isinstance(error, Conflict) or target is self.applied:
            self._left = state
            self._drift.end()
        self.held = self._named(state)
        reason = f"The worker {_what(error)} {target.tag}: {error.message}"
        delivery = self._delivery_of(target)
        if delivery is not None:
            delivery.end(ReportState.FAILED, self._clock.seconds(), reason)
            self._refused_by = state.boot_id
        self._refusal.begin(reason)

    def _delivery_of(self, target: Configuration) -> Delivery | None:
        """How C{target} fares; C{None} where another is to be delivered by now."""
        delivery = self._delivery
        return delivery if delivery is not None and delivery.configuration is target else None


def _what(refusal: ConfdError) -> str:
    if isinstance(refusal, Unprocessable):
        return "refuses configuration"
    return "holds another document as" if refusal.code == "other_content" else "holds a newer configuration than"


@implementer(IHealth)
@frozen(eq=False)
class Applied:
    """Whether the worker has ever taken a configuration."""

    _worker_sync: WorkerSync

    def problem(self) -> str | None:
        """See L{IHealth}."""
        return "No configuration has been applied yet." if self._worker_sync.applied is None else None
