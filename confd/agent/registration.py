"""Joining a controller: in the background, until one answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from confd.codec.bodies import bounded_interval
from confd.errors import ConfdError, Malformed, Unavailable
from confd.interfaces import IControllerClient, IHealth
from confd.model import Registration, RegistrationResponse
from confd.runtime.problem import Problem
from confd.runtime.timing import Backoff, retrying


@implementer(IHealth)
class RegistrationService(Service):
    """
    The agent's place among the agents of its controller.

    @ivar agent_id: names this agent; empty until a controller gave it one.
    @ivar member: whether it is registered, as far as it knows.
    @ivar poll_interval: seconds; what the controller said at registration.
    @ivar report_window: seconds over which reports are to be spread, as a controller said last.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        controller: IControllerClient,
        backoff: Backoff,
        registration: Registration,
        keep_id: Callable[[str], None],
        joined: Callable[[], None] = lambda: None,
        keep_token: Callable[[str], None] = lambda token: None,
    ) -> None:
        """
        @param backoff: between attempts, also between those that succeed and change nothing.
        @param registration: what the agent says of itself; its C{agent_id} is filled in here.
        @param keep_id: called with each id that a controller gives.
        @param joined: called each time that it is registered.
        @param keep_token: called with each token that a controller gives, and with an empty one where it gives none.
        """
        self.agent_id = ""
        self.member = False
        self.poll_interval = bounded_interval(None)
        self.report_window = 0.0
        self._clock = clock
        self._controller = controller
        self._backoff = backoff
        self._registration = registration
        self._keep_id = keep_id
        self._joined = joined
        self._keep_token, self._token = keep_token, ""
        self._problem = Problem("registration", self.log)
        self._refused = False
        self._joining: Deferred[Any] | None = None

    def problem(self) -> str | None:
        """See L{IHealth}: a refusal counts, which no time mends; a controller that is away does not."""
        return self._problem.reason if self._refused else None

    def resume(self, agent_id: str, token: str) -> None:
        """Go on as the agent that it was before it was restarted; empty where it does not know."""
        self.agent_id, self._token = agent_id, token
        self._controller.present(agent_id, token)

    def startService(self) -> None:
        """Begin to register; no configuration waits for it."""
        super().startService()
        self.member = False
        self._begin(0)

    def stopService(self) -> None:
        """Stop trying."""
        super().stopService()
        if self._joining is not None:
            self._joining.cancel()

    def heard(self, known: bool) -> None:
        """
        A controller answered.

        @param known: whether it knows this agent; if not, its row was deleted, or is of after the backup that was
            restored: it registers again, with the id that it has.
        """
        if known:
            self._backoff.reset()
        elif self.member and self.running:
            self.member = False
            self.log.warn("the controller does not know {agent_id}: it registers again", agent_id=self.agent_id)
            self._begin(self._backoff.next())

    def _begin(self, delay: float) -> None:
        self._joining = Deferred.fromCoroutine(self._join(delay))
        self._joining.addErrback(lambda failure: failure.trap(CancelledError))
        self._joining.addErrback(lambda failure: self.log.failure("registration ended", failure))

    async def _join(self, delay: float) -> None:
        if delay:
            await deferLater(self._clock, delay)
        membership = await retrying(self._clock, self._backoff, self._attempt, self._not_yet)
        self._problem.end()
        self._refused = False
        self.poll_interval, self.report_window = membership.poll_interval, membership.report_window
        if membership.agent_id != self.agent_id:
            self.agent_id = membership.agent_id
            self._keep_id(self.agent_id)
        if membership.token != self._token:
            self._token = membership.token
            self._keep_token(self._token)
        self._controller.present(self.agent_id, self._token)
        self.member = True
        self.log.info("registered as {agent_id}", agent_id=self.agent_id)
        self._joined()

    def _not_yet(self, error: ConfdError) -> None:
        # Whoever starts a controller and its agents together need not be told that the one was a moment later.
        self._refused = not isinstance(error, (Unavailable, Malformed))
        if self._refused:
            self._problem.begin(f"The controller refuses to register this agent: {error.message}")
        elif error.code != "starting":
            self._problem.begin(error.message)

    def _attempt(self) -> Deferred[RegistrationResponse]:
        return self._controller.register(evolve(self._registration, agent_id=self.agent_id))
