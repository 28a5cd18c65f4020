"""Poll the controllers at intervals and after hints, whatever the strategy is."""

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

#: Factor by which an agent polls more often while its push path is down.
PUSH_DOWN_FACTOR = 3

#: Shortest time between two polls that follow hints.
HINT_INTERVAL_SECONDS = 1.0

#: Poll intervals without an answer after which the agent is not ready.
UNREADY_AFTER_INTERVALS = 3


@implementer(IHealth)
class Poller(Service):
    """
    Poll the controllers for as long as the service runs.

    @ivar polls: Number of polls by result.
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
        @param receiver: Handles the answers.
        @param backoff: Delays after failed polls.
        @param random: Source of jitter.
        @param push_is_down: Tells whether the strategy has a push path that is down.
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
        self._hint_timer: IDelayedCall | None = None
        #: Whether the last poll named this agent.
        self._had_id = True
        self._last_poll_at = self._last_answer_at = clock.seconds()
        #: Seconds to wait, and the time at which the wait ends, as a busy controller asks (C{Retry-After}).
        self._asked_pause: float | None = None
        self._not_before = clock.seconds()
        self._silence = Problem("controller", self.log)
        #: A failure that does not pass by itself, or the objection to the configuration of the controller.
        self._objection: str | None = None

    def hint(self) -> None:
        """Poll soon; many hints cause one poll."""
        if self.running and self._hint_timer is None:
            due = max(self._last_poll_at + HINT_INTERVAL_SECONDS, self._not_before)
            delay = max(0.0, due - self._clock.seconds())
            self._hint_timer = self._clock.callLater(delay, self._poll_now)

    def registered(self) -> None:
        """Poll again if the last poll came before the registration, because it did not name this agent."""
        if not self._had_id:
            self.hint()

    def reconsider(self, configuration: Configuration) -> None:
        """Poll sooner if a configuration that was accepted, maybe from a push, asks for a shorter interval."""
        if self._silence.reason is None:
            self._loop.reconsider()

    @property
    def silence(self) -> float:
        """Seconds since the last answer of a controller, or since the start."""
        return self._clock.seconds() - self._last_answer_at

    def problem(self) -> str | None:
        # An agent without a configuration waits for the controller, so every failure counts.
        silent = self._receiver.known() is None or self.silence > UNREADY_AFTER_INTERVALS * self._interval
        return self._objection or (self._silence.reason if silent else None)

    def startService(self) -> None:
        super().startService()
        self._last_answer_at = self._clock.seconds()
        self._loop.startService()

    def stopService(self) -> Deferred[None] | None:
        """Stop; fires when no poll is in progress."""
        super().stopService()
        if self._hint_timer is not None:
            self._hint_timer.cancel()
            self._hint_timer = None
        return self._loop.stopService()

    @property
    def _interval(self) -> int:
        return self._receiver.poll_interval() or self._registration_service.poll_interval

    def _pause(self) -> float:
        if self._silence.reason is not None:
            return self._backoff.next(self._asked_pause)
        interval = max(1.0, self._interval / PUSH_DOWN_FACTOR) if self._push_is_down() else self._interval
        return interval * self._random.uniform(1 - JITTER_FRACTION, 1 + JITTER_FRACTION)

    def _poll_now(self) -> None:
        self._hint_timer = None
        self._loop.hurry()

    async def _poll(self) -> None:
        self._last_poll_at = self._clock.seconds()
        asked, member = self._receiver.known(), self._registration_service.member
        self._had_id = bool(self._registration_service.agent_id)
        try:
            poll = await self._controller.fetch(self._receiver.poll_condition(), self._registration_service.agent_id)
        except ConfdError as error:
            self.polls["failed"] += 1
            self._silence.begin(error.message)
            self._asked_pause = error.retry_after
            if error.retry_after:
                self._not_before = self._clock.seconds() + error.retry_after
            # A controller that is down or answers nonsense may recover; wrong credentials and addresses do not pass.
            passes = isinstance(error, (Unavailable, Malformed)) and error.code != "redirect"
            self._objection = None if passes else error.message
            return
        self._silence.end()
        self._backoff.reset()
        self._last_answer_at = self._clock.seconds()
        if member:
            self._registration_service.confirm(poll.member)
        self._objection = self._receiver.answered(poll.served, asked, poll.checksum, poll.key_ids)
        self.polls["unchanged" if poll.served is None else "objected" if self._objection else "changed"] += 1
