"""
Latest-wins delivery to the worker, and the watch over what it holds (G6, G7).

One L{Periodic} does all of it, so that at most one request is under way: it delivers the newest configuration, asks
what the worker then holds, and from then on looks whether that is still so. What remains to be done is a matter of
state, not of events: nothing can be forgotten between two of them.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.agent.trouble import Trouble
from confd.interfaces import IHealth, IWorkerClient
from confd.model import ConfdError, Configuration, Conflict, Unavailable, Unprocessable, WorkerState
from confd.timing import Backoff, Periodic

#: Seconds between two looks at the worker.
DRIFT_INTERVAL = 2.0

#: Seconds between two attempts to reach it at most, so that it is put right within 5 seconds of being reachable.
RETRY_MAX = 4.0

#: Seconds that a delivery under way gets when the agent stops.
GRACE = 8.0


@implementer(IHealth)
class Forwarder(Service):
    """
    Keeps the worker on the newest configuration that it takes.

    @ivar applied: the last one that the worker took; restored whenever the worker lost it.
    @ivar verified: whether that was read back from it; a worker without GET C{/config} is taken at its 200.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, worker: IWorkerClient, backoff: Backoff, keep: Callable[[Configuration], None]
    ) -> None:
        """
        @param backoff: between attempts to reach the worker; its cap is L{RETRY_MAX}.
        @param keep: called with each configuration once it is applied.
        """
        self.applied: Configuration | None = None
        self.verified = False
        self._worker = worker
        self._backoff = backoff
        self._keep = keep
        self._loop = Periodic(clock, self._round, self._pause, GRACE)
        self._desired: Configuration | None = None
        #: The desired one was neither applied nor refused yet.
        self._pending = False
        #: The boot id of the worker that refused the desired one.
        self._refused_by: str | None = None
        #: What the worker looked like when nothing was left to do; C{None} makes the next round compare.
        self._left: WorkerState | None = None
        self._reach = Trouble("worker", self.log)
        self._refusal = Trouble("configuration", self.log)

    def deliver(self, configuration: Configuration) -> None:
        """Bring the worker to this one, in place of any that is still under way."""
        self._desired, self._pending, self._refused_by = configuration, True, None
        self._loop.hurry()

    def trouble(self) -> str | None:
        """See L{IHealth}."""
        if self._reach.reason or self._refusal.reason:
            return self._reach.reason or self._refusal.reason
        return "No configuration has been applied yet." if self.applied is None else None

    def startService(self) -> None:
        """Begin to look after the worker."""
        super().startService()
        self._loop.startService()

    def stopService(self) -> Deferred[None] | None:
        """Fires when the delivery under way has ended, after L{GRACE} seconds at most."""
        super().stopService()
        return self._loop.stopService()

    # -- one round --

    def _pause(self) -> float:
        return self._backoff.next() if self._reach.reason else DRIFT_INTERVAL

    async def _round(self) -> None:
        desired = self._desired
        if desired is None:
            return
        try:
            if self._pending:
                await self._bring(desired)
            else:
                await self._inspect(desired)
        except ConfdError as error:
            self._reach.begin(error.message)
        else:
            self._reach.end()
            self._backoff.reset()

    async def _inspect(self, desired: Configuration) -> None:
        """Put the worker right if it is no longer as it was left."""
        state = await self._worker.state()
        if self._refused_by not in (None, state.boot_id):
            # Another process: it may judge otherwise.
            await self._bring(desired)
        elif state != self._left:
            if self.applied is not None and not await self._holds(state, self.applied):
                self.log.warn("the worker no longer holds {tag}: it is restored", tag=str(self.applied.tag))
                await self._bring(self.applied)
            else:
                self._left = state

    async def _holds(self, state: WorkerState, configuration: Configuration) -> bool:
        if not state.has_config:
            return False
        checksum = await self._worker.checksum()
        return checksum is None or checksum == configuration.document.checksum

    async def _bring(self, target: Configuration) -> None:
        """Deliver, and believe only what is read back."""
        self._left = None
        try:
            await self._worker.deliver(target)
        except (Unprocessable, Conflict) as error:
            await self._settle_refusal(target, error)
            return
        checksum = await self._worker.checksum()
        if checksum not in (None, target.document.checksum):
            raise Unavailable("worker_differs", f"The worker accepted {target.tag} and then holds another document.")
        self.applied, self.verified = target, checksum is not None
        if target is self._desired:
            self._pending, self._refused_by = False, None
            self._refusal.end()
        self.log.info("configuration {tag} is applied", tag=str(target.tag), verified=self.verified)
        self._keep(target)

    async def _settle_refusal(self, target: Configuration, error: ConfdError) -> None:
        """Leave a worker alone that refused; what it had before stays in force, or is restored next (G7)."""
        state = await self._worker.state()
        newer = isinstance(error, Conflict)
        if newer or target is self.applied:
            self._left = state
        if target is self._desired:
            self._pending, self._refused_by = False, state.boot_id
        what = "holds a newer configuration than" if newer else "refuses configuration"
        self._refusal.begin(f"The worker {what} {target.tag}: {error.message}")
