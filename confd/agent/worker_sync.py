"""
Deliver the newest configuration to the worker, and watch over what the worker holds (promises G6 and G7).

One L{Periodic} makes all requests, one at a time. It delivers the newest configuration, reads the document back, and
checks the worker at intervals from then on. Each round derives its work from the current state, so no event is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from attrs import frozen
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.agent.delivery import Delivery
from confd.agent.outputs.refusal import explain_refusal
from confd.errors import ConfdError, Conflict, Unavailable, Unprocessable
from confd.interfaces import IHealth, IWorkerClient
from confd.model import Configuration, Tag, WorkerState
from confd.reports import Report, ReportState
from confd.runtime.problem import Problem
from confd.runtime.timing import Backoff, Periodic

#: Seconds between two checks of the worker.
CHECK_INTERVAL_SECONDS = 2.0

#: The same while nothing changes: a worker that restarts empty or drifts is still repaired within 5 seconds.
STEADY_INTERVAL_SECONDS = 4.0

#: Longest delay between two attempts, so that a worker is repaired within 5 seconds of being reachable.
RETRY_MAX_SECONDS = 4.0

#: Longest time that a delivery in progress may take when the agent stops.
STOP_GRACE_SECONDS = 8.0


@implementer(IHealth)
class WorkerSync(MultiService):
    """
    Keep the worker on the newest configuration that it accepts.

    @ivar applied: The last configuration that the worker accepted; restored when the worker loses it.
    @ivar deliveries: Number of deliveries by result.
    @ivar verified: Whether C{applied} was read back; impossible for a worker without GET C{/config}.
    @ivar held: Tag of the document that the worker held at the last check; C{None} for none or an unknown tag.
    @ivar repairs: Number of times that a lost configuration was restored.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        worker: IWorkerClient,
        backoff: Backoff,
        keep: Callable[[Configuration], object],
        changed: Callable[[], object] = lambda: None,
        explain: Callable[[Tag, ConfdError], str] = explain_refusal,
        subject: str = "The worker",
        retags: bool = True,
    ) -> None:
        """
        @param backoff: Delays between attempts to reach the worker; its cap is L{RETRY_MAX_SECONDS}.
        @param keep: Called with each configuration after the worker applied it.
        @param changed: Called when the result of L{report} may have changed.
        @param explain: Returns the sentence for a configuration that was rejected.
        @param subject: Begins the other sentences.
        @param retags: Whether a newer tag of a document that the worker holds needs no delivery.
        """
        super().__init__()
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
        self._explain, self._subject, self._retags = explain, subject, retags
        self._loop = Periodic(clock, self._round, self._pause, STOP_GRACE_SECONDS)
        self._loop.setServiceParent(self)
        #: The delivery of the newest configuration.
        self._delivery: Delivery | None = None
        #: Boot id of the worker that refused the newest configuration.
        self._refused_by: str | None = None
        #: Tag under which the worker got the applied document.
        self._delivered: Tag | None = None
        #: State of the worker after the last completed round; C{None} makes the next round compare documents.
        self._settled: WorkerState | None = None
        #: Whether the last round found the worker in that state.
        self._steady = False
        #: The request for the document after a delivery.
        self._reading: Deferred[str | None] | None = None
        self._reach = Problem("worker", self.log)
        self._refusal = Problem("configuration", self.log)
        self._drift = Problem("drift", self.log)

    def deliver(self, configuration: Configuration) -> None:
        """Deliver a configuration in place of the previous one, which may be in progress."""
        self._delivery, self._refused_by = Delivery(configuration, self._clock.seconds()), None
        if self._reading is not None:
            self._reading.cancel()
        self._loop.hurry()
        self._changed()

    def report(self) -> Report | None:
        """Return the current report on the newest configuration; C{None} before the first one."""
        delivery = self._delivery
        if delivery is None:
            return None
        wanted, state, error = delivery.configuration, delivery.state, delivery.error
        obstacle = self._reach.reason or self._drift.reason
        if obstacle is not None and state is not ReportState.FAILED:
            state, error = ReportState.APPLYING, obstacle
        return Report(
            wanted.tag,
            state,
            error,
            verified=self.verified or state is not ReportState.APPLIED,
            holds=self.held,
            holds_cluster_id=wanted.cluster_id if self.held and self.held.cluster == wanted.tag.cluster else "",
            repairs=self.repairs,
            spent=delivery.timings(self._clock.seconds()),
        )

    @property
    def checksum(self) -> str:
        """The checksum of the applied document; empty before the first."""
        return self.applied.document.checksum if self.applied is not None else ""

    def problem(self) -> str | None:
        return self._reach.reason or self._refusal.reason

    # -- one round --

    def _pause(self) -> float:
        if self._reach.reason:
            return self._backoff.next()
        return STEADY_INTERVAL_SECONDS if self._steady else CHECK_INTERVAL_SECONDS

    async def _round(self) -> None:
        delivery = self._delivery
        if delivery is None:
            return
        pending = delivery.state is ReportState.APPLYING
        try:
            await (self._deliver if pending else self._inspect)(delivery.configuration)
        except ConfdError as error:
            if error.code != "superseded":
                self.deliveries["failed"] += pending
                self._reach.begin(error.message)
        else:
            self._reach.end()
            self._backoff.reset()
        self._changed()

    async def _inspect(self, wanted: Configuration) -> None:
        """Check the worker, and restore what it lost."""
        self._steady = False
        state = await self._worker.state()
        self._steady = state == self._settled
        if self._refused_by not in (None, state.boot_id):
            # Another process of the worker may accept the configuration.
            await self._deliver(wanted)
        elif state != self._settled:
            if self.applied is not None and not await self._holds(state, self.applied):
                self.held = self._held_tag(state)
                self._drift.begin(f"{self._subject} lost configuration {self.applied.tag}; the agent restores it.")
                self._changed()
                await self._deliver(self.applied)
                return
            if self.applied is not None:
                self._end_drift(self.applied)
            if state.version is not None or not (state.has_config and state.boot_id):
                self._settled = state
            # A worker that names versions but holds a document without a tag is compared again: its next change would
            # not change this state.

    def _end_drift(self, restored: Configuration) -> None:
        """Count a repair after the worker holds the configuration again, also if the answer was lost."""
        if self._drift.reason is not None:
            self.repairs += 1
            self.held = restored.tag
            self._drift.end()

    async def _holds(self, state: WorkerState, configuration: Configuration) -> bool:
        if not state.has_config:
            return False
        checksum = await self._worker.checksum()
        return checksum is None or checksum == configuration.document.checksum

    def _held_tag(self, state: WorkerState) -> Tag | None:
        """Return the tag of the document that the worker holds; a worker that never names tags holds C{applied}."""
        if not state.has_config:
            return None
        if state.version is None:
            return self.applied.tag if self.applied is not None and not state.boot_id else None
        try:
            tag = Tag.parse(state.version)
        except ValueError:
            return None
        # The worker does not learn of a newer tag of the document that it holds.
        return self.applied.tag if self.applied is not None and tag == self._delivered else tag

    async def _deliver(self, target: Configuration) -> None:
        """Deliver a configuration, and compare what the worker then holds."""
        self._settled, self._steady = None, False
        delivery = self._delivery_of(target)
        if delivery is not None:
            delivery.begin(self._clock.seconds())
        if await self._holds_already(target):
            self._end_drift(target)
            self._settle_applied(target, verified=True)
            return
        try:
            taken = await self._worker.deliver(target)
        except (Unprocessable, Conflict) as error:
            self.deliveries["refused"] += 1
            await self._settle_refusal(target, error)
            return
        checksum = taken.checksum if taken.checksum is not None else await self._read_back(target)
        if checksum not in (None, target.document.checksum):
            raise Unavailable("worker_differs", f"{self._subject} accepted {target.tag} but holds another document.")
        self.deliveries["applied"] += 1
        if target is self.applied:
            self._end_drift(target)
        self._drift.end()
        self._delivered = target.tag
        self._settle_applied(target, verified=checksum is not None and taken.proven)

    async def _read_back(self, target: Configuration) -> str | None:
        """
        Ask the worker for the checksum of the document that it holds.

        @raise Unavailable: C{superseded}: a newer configuration arrived, and need not wait for a slow worker.
        """
        self._reading = reading = self._worker.checksum()
        try:
            return await reading
        except CancelledError:
            if self._delivery_of(target) is None and self._loop.running:
                raise Unavailable("superseded", "A newer configuration arrived.") from None
            raise
        finally:
            self._reading = None

    async def _holds_already(self, target: Configuration) -> bool:
        """Return whether the worker still holds the applied document, and C{target} is another tag of that document."""
        if not self._retags or target is self.applied or target.document.checksum != self.checksum:
            return False
        try:
            return await self._worker.checksum() == target.document.checksum
        except ConfdError:
            return False

    def _settle_applied(self, target: Configuration, *, verified: bool) -> None:
        self.applied, self.verified, self.held = target, verified, target.tag
        delivery = self._delivery_of(target)
        if delivery is not None:
            delivery.end(ReportState.APPLIED, self._clock.seconds())
            self._refused_by = None
            self._refusal.end()
        self.log.info("configuration {tag} applied", tag=str(target.tag), verified=verified)
        self._keep(target)

    async def _settle_refusal(self, target: Configuration, error: ConfdError) -> None:
        """Stop sending to a worker that refused; its previous configuration stays, or is restored next (promise G7)."""
        state = await self._worker.state()
        if isinstance(error, Conflict) or target is self.applied:
            self._settled = state
            self._drift.end()
        self.held = self._held_tag(state)
        reason = self._explain(target.tag, error)
        delivery = self._delivery_of(target)
        if delivery is not None:
            delivery.end(ReportState.FAILED, self._clock.seconds(), reason)
            self._refused_by = state.boot_id
        self._refusal.begin(reason)

    def _delivery_of(self, target: Configuration) -> Delivery | None:
        """Return the delivery of C{target}; C{None} if a newer configuration has replaced it."""
        delivery = self._delivery
        return delivery if delivery is not None and delivery.configuration is target else None


@implementer(IHealth)
@frozen(eq=False)
class Applied:
    """Report a problem until the worker has applied a configuration."""

    _worker_sync: WorkerSync

    def problem(self) -> str | None:
        return "No configuration has been applied yet." if self._worker_sync.applied is None else None
