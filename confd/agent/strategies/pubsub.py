"""Changes by way of a broker: REDIS and NATS are the same strategy on two brokers."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from confd.errors import ConfdError
from confd.interfaces import POLL, IBroker, ISink, IStrategy
from confd.runtime.reload import ReloadedFiles

#: Seconds over which a fleet spreads the comparisons that follow a broker's return.
COMPARE_SPREAD_SECONDS = 2.0


@implementer(IStrategy)
class PubSub:
    """
    Subscribes first, then catches up, then compares: on every connection, so that nothing falls between.
    """

    pushes = True
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        broker: IBroker,
        namespace: str,
        random: Random,
        passwords: Sequence[ReloadedFiles[Any]] = (),
    ) -> None:
        """
        @param passwords: what keeps those of the broker up to date; started and stopped with it.
        """
        self._passwords = passwords
        self.name: str = broker.name
        self.connections = 0
        self._clock, self._broker, self._namespace, self._random = clock, broker, namespace, random
        self._catching_up: Deferred[Any] | None = None
        broker.listen(namespace, self._heard, self._connected)

    def start(self, sink: ISink) -> None:
        """See L{IStrategy}."""
        self._sink = sink
        for each in self._passwords:
            each.startService()
        self._broker.startService()

    async def _stop(self) -> None:
        try:
            for each in self._passwords:
                await maybeDeferred(each.stopService)
            await maybeDeferred(self._broker.stopService)
        finally:
            # Not before: the broker may connect once more while it ends.
            self._catch_up_no_more()

    def stop(self) -> Deferred[None]:
        """See L{IStrategy}."""
        return Deferred.fromCoroutine(self._stop())

    def path(self) -> str:
        """See L{IStrategy}."""
        return self.name if self._broker.running and self._broker.problem() is None else POLL

    def reload(self) -> None:
        """Load the passwords again soon."""
        for each in self._passwords:
            each.reload()

    def _heard(self, message: bytes) -> None:
        self._sink.announced(message)

    def _connected(self) -> None:
        self.connections += 1
        self.log.info("changes arrive by {name}", name=self.name)
        self._catch_up_no_more()
        self._catching_up = Deferred.fromCoroutine(self._catch_up())
        self._catching_up.addErrback(lambda failure: failure.trap(CancelledError))

    def _catch_up_no_more(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()

    async def _catch_up(self) -> None:
        try:
            latest = await self._broker.latest(self._namespace)
            if latest is not None:
                self._sink.announced(latest)
        except CancelledError:
            raise
        except ConfdError as error:
            self.log.debug("{name} has nothing to catch up with: {reason}", name=self.name, reason=error.message)
        except Exception:
            self.log.failure("catching up by {name} failed", name=self.name)
        # The broker may have lost its memory, or never had it: HTTP is the truth.
        await deferLater(self._clock, self._random.uniform(0, COMPARE_SPREAD_SECONDS))
        self._sink.hint()
