"""Register with a controller in the background, and again when the controller forgets the agent."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
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
    The registration of the agent.

    @ivar agent_id: The id that a controller assigned; empty before the first registration.
    @ivar member: Whether the agent is registered, as of the last answer of a controller.
    @ivar poll_interval: Poll interval from the registration, in seconds.
    @ivar report_window: Window over which to spread reports, in seconds, from the last answer.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        controller: IControllerClient,
        backoff: Backoff,
        registration: Registration,
        keep_id: Callable[[str], object],
        registered: Callable[[], object] = lambda: None,
        keep_token: Callable[[str], object] = lambda token: None,
    ) -> None:
        """
        @param backoff: Delays between attempts, and between registrations that the controller forgets again.
        @param registration: Description of the agent; the service fills in C{agent_id}.
        @param keep_id: Called with each new id.
        @param registered: Called after each registration.
        @param keep_token: Called with each new token; the token is empty if the controller assigns none.
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
        self._registered = registered
        self._keep_token, self._token = keep_token, ""
        self._problem = Problem("registration", self.log)
        self._token_problem = Problem("token", self.log)
        self._refused = False
        self._registering: Deferred[None] | None = None

    def problem(self) -> str | None:
        """Return the refusal of a controller; a controller that is down is no problem of the registration."""
        return self._problem.reason if self._refused else None

    def notice(self) -> str:
        """Return why this agent works without a token of its own; empty if it need not."""
        return self._token_problem.reason or ""

    @property
    def may_report(self) -> bool:
        """Whether the controller knows this agent."""
        return self.member or self._token_problem.reason is not None

    def resume(self, agent_id: str, token: str) -> None:
        """Use the id and the token of the previous process; empty if they are lost."""
        self.agent_id, self._token = agent_id, token
        self._controller.present(agent_id, token)

    def startService(self) -> None:
        """Begin to register; nothing waits for the registration."""
        super().startService()
        self.member = False
        self._begin(0)

    def stopService(self) -> None:
        super().stopService()
        if self._registering is not None:
            self._registering.cancel()

    def confirm(self, known: bool) -> None:
        """
        Handle an answer that says whether the controller knows this agent.

        @param known: If false, the agent registers again with its id: the controller deleted the agent, or was
            restored from a backup that is older than the registration.
        """
        if known:
            self._backoff.reset()
        elif self.member and self.running:
            self.member = False
            self.log.warn("the controller does not know {agent_id}: registering again", agent_id=self.agent_id)
            self._begin(self._backoff.next())

    def _begin(self, delay: float) -> None:
        registering = self._registering = Deferred.fromCoroutine(self._register(delay))
        registering.addErrback(self._log_defect)

    def _log_defect(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("the registration failed and is not retried", failure)

    async def _register(self, delay: float) -> None:
        if delay:
            await deferLater(self._clock, delay)
        response = await retrying(self._clock, self._backoff, self._attempt, self._note_failure)
        self._problem.end()
        self._token_problem.end()
        self._refused = False
        self.poll_interval, self.report_window = response.poll_interval, response.report_window
        if response.agent_id != self.agent_id:
            self.agent_id = response.agent_id
            self._keep_id(self.agent_id)
        if response.token != self._token:
            self._token = response.token
            self._keep_token(self._token)
        self._controller.present(self.agent_id, self._token)
        self.member = True
        self.log.info("registered as {agent_id}", agent_id=self.agent_id)
        self._registered()

    def _note_failure(self, error: ConfdError) -> None:
        if error.code == "agent_alive":
            # Polls with the shared password go on. It passes once the process with the token is silent.
            self._token_problem.begin(f"This agent has no token of its own yet. {error.message}")
            self._problem.end()
            self._refused = False
            return
        # A controller that is starting is not worth a log line.
        self._refused = not isinstance(error, (Unavailable, Malformed))
        if self._refused:
            self._problem.begin(f"The controller refuses to register this agent: {error.message}")
        elif error.code != "starting":
            self._problem.begin(error.message)

    def _attempt(self) -> Deferred[RegistrationResponse]:
        return self._controller.register(evolve(self._registration, agent_id=self.agent_id))
