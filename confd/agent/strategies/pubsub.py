"""The strategies REDIS, NATS and KAFKA: subscribe to a broker."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from confd.errors import ConfdError
from confd.interfaces import POLL, IBroker, ISink, IStrategy
from confd.runtime.reload import ReloadedFiles

#: Seconds over which a fleet spreads its polls after the broker returned.
COMPARE_SPREAD_SECONDS = 2.0


@implementer(IStrategy)
class PubSub:
    """Subscribe, then read the latest announcement, then poll: on every connection, so that no change is missed."""

    pushes = True
    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        broker: IBroker,
        namespace: str,
        random: Random,
        passwords: Sequence[ReloadedFiles] = (),
    ) -> None:
        """
        @param passwords: Reload the passwords of the broker; started and stopped with it.
        """
        self._passwords = passwords
        self.name: str = broker.name
        self.connections = 0
        self._clock, self._broker, self._namespace, self._random = clock, broker, namespace, random
        self._catching_up: Deferred[None] | None = None
        broker.listen(namespace, self._announced, self._connected)
        broker.attend(namespace, self._rung)

    def start(self, sink: ISink) -> None:
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
            # Last, because the broker may connect once more while it stops.
            self._cancel_catching_up()

    def stop(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    def path(self) -> str:
        return self.name if self._broker.running and self._broker.problem() is None else POLL

    def reload(self) -> None:
        """Reload the passwords soon."""
        for each in self._passwords:
            each.reload()

    def _announced(self, message: bytes) -> None:
        self._sink.announced(message)

    def _rung(self, message: bytes) -> None:
        self._sink.rung(message)

    def _connected(self) -> None:
        self.connections += 1
        self.log.info("changes arrive by {name}", name=self.name)
        self._cancel_catching_up()
        catching_up = self._catching_up = Deferred.fromCoroutine(self._catch_up())
        catching_up.addErrback(lambda failure: failure.trap(CancelledError))

    def _cancel_catching_up(self) -> None:
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
            self.log.debug("{name} cannot give the latest announcement: {reason}", name=self.name, reason=error.message)
        except Exception:
            self.log.failure("reading the latest announcement from {name} failed", name=self.name)
        # The broker may have lost the announcement; the controller always has the current configuration.
        await deferLater(self._clock, self._random.uniform(0, COMPARE_SPREAD_SECONDS))
        self._sink.hint()
