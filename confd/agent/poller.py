"""The poll loop under every strategy: compares what the agent knows with the controller, sooner when hinted at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.agent.receiver import Receiver
from confd.agent.registration import RegistrationService
from confd.errors import ConfdError, Malformed, Unavailable
from confd.interfaces import IControllerClient, IHealth
from confd.model import Configuration
from confd.runtime.problem import Problem
from confd.runtime.timing import Backoff, Periodic

#: How far a poll interval is moved at random, so that a fleet spreads out; it stays within 1.2 intervals (promise G4).
JITTER_FRACTION = 0.1

#: How many times as often an agent polls whose push path is down.
PUSH_DOWN_FACTOR = 3

#: Seconds between two polls that are owed to hints.
HINT_INTERVAL_SECONDS = 1.0

#: Poll intervals after which a controller that does not answer makes the agent not ready.
UNREADY_AFTER_INTERVALS = 3


@implementer(IHealth)
class Poller(Service):
    """
    Polls for as long as it runs, whatever answers.

    @ivar polls: how often each came of a poll.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        controller: IControllerClient,
        receiver: Receiver,
        registration_service: RegistrationService,
        backoff: Backoff,
        random: Random,
        push_is_down: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        @param receiver: where the answers go.
        @param backoff: between polls that fail.
        @param random: where the jitter of the polls comes from.
        @param push_is_down: whether changes should arrive sooner than by poll, and do not at the moment.
        """
        self._clock = clock
        self._controller = controller
        self._receiver = receiver
        self._registration_service = registration_service
        self._backoff = backoff
        self._random = random
        self.polls: Counter[str] = Counter({"failed": 0, "unchanged": 0, "changed": 0, "objected": 0})
        self._push_is_down = push_is_down
        self._loop = Periodic(clock, self._poll, self._pause)
        self._hinted: IDelayedCall | None = None
        self._named = True
        self._polled_at = self._heard_at = clock.seconds()
        #: What a controller that cannot answer asks for: a pause in seconds, which ends at this time.
        self._asked_pause: float | None = None
        self._not_before = clock.seconds()
        self._silence = Problem("controller", self.log)
        #: A failure that waiting will not mend, or a controller that offers what cannot be taken.
        self._objection: str | None = None

    def hint(self) -> None:
        """Poll soon; any number of hints make few polls."""
        if self.running and self._hinted is None:
            due = max(self._polled_at + HINT_INTERVAL_SECONDS, self._not_before)
            delay = max(0.0, due - self._clock.seconds())
            self._hinted = self._clock.callLater(delay, self._heed)

    def joined(self) -> None:
        """Poll again where the last poll came before the registration: the controller could not see whose it was."""
        if not self._named:
            self.hint()

    def reconsider(self, configuration: Configuration) -> None:
        """Poll sooner if a configuration that was accepted, maybe from a push, asks for a shorter interval."""
        if self._silence.reason is None:
            self._loop.reconsider()

    @property
    def silence(self) -> float:
        """Seconds since a controller last answered, or since the start."""
        return self._clock.seconds() - self._heard_at

    def problem(self) -> str | None:
        """See L{IHealth}."""
        # An agent without a configuration waits for the controller, so every failure counts.
        silent = self._receiver.known() is None or self.silence > UNREADY_AFTER_INTERVALS * self._interval
        return self._objection or (self._silence.reason if silent else None)

    def startService(self) -> None:
        """Poll at once, and from then on."""
        super().startService()
        self._heard_at = self._clock.seconds()
        self._loop.startService()

    def stopService(self) -> Deferred[None] | None:
        """Fires when no poll is under way."""
        super().stopService()
        if self._hinted is not None:
            self._hinted.cancel()
            self._hinted = None
        return self._loop.stopService()

    @property
    def _interval(self) -> int:
        return self._receiver.poll_interval() or self._registration_service.poll_interval

    def _pause(self) -> float:
        if self._silence.reason is not None:
            return self._backoff.next(self._asked_pause)
        interval = max(1.0, self._interval / PUSH_DOWN_FACTOR) if self._push_is_down() else self._interval
        return interval * self._random.uniform(1 - JITTER_FRACTION, 1 + JITTER_FRACTION)

    def _heed(self) -> None:
        self._hinted = None
        self._loop.hurry()

    async def _poll(self) -> None:
        self._polled_at = self._clock.seconds()
        asked, member = self._receiver.known(), self._registration_service.member
        self._named = bool(self._registration_service.agent_id)
        try:
            poll = await self._controller.fetch(self._receiver.condition(), self._registration_service.agent_id)
        except ConfdError as error:
            self.polls["failed"] += 1
            self._silence.begin(error.message)
            self._asked_pause = error.retry_after
            if error.retry_after:
                self._not_before = self._clock.seconds() + error.retry_after
            # Time mends a controller that is away or answers rubbish; wrong credentials and addresses it does not.
            passes = isinstance(error, (Unavailable, Malformed)) and error.code != "redirect"
            self._objection = None if passes else error.message
            return
        self._silence.end()
        self._backoff.reset()
        self._heard_at = self._clock.seconds()
        if member:
            self._registration_service.heard(poll.member)
        self._objection = self._receiver.answered(poll.served, asked, poll.checksum)
        self.polls["unchanged" if poll.served is None else "objected" if self._objection else "changed"] += 1
