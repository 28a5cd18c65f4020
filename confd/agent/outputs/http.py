"""The HTTP output: the worker, as one output of a set."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from confd.agent.outputs.context import BuiltInContext
from confd.agent.outputs.refusal import explain_refusal
from confd.errors import Conflict, Unavailable, Unprocessable
from confd.interfaces import HealthCheck, IOutput, IStagedChange, IWorkerClient, OutputState, Step
from confd.model import Configuration, WorkerState


def make(context: BuiltInContext) -> HttpOutput:
    """Make the output HTTP."""
    return HttpOutput(context.worker, context.worker_health)


@implementer(IOutput)
@define(eq=False)
class HttpOutput:
    """
    The worker beside the agent.

    @ivar health: see L{IOutput}.
    """

    _worker: IWorkerClient
    health: HealthCheck | None = None
    name: str = field(default="http", init=False)
    _committed: str = field(default="", init=False)
    _verified: bool = field(default=True, init=False)
    #: The state of the worker when it was seen to hold what was committed.
    _seen: WorkerState | None = field(default=None, init=False)

    def problem(self) -> str | None:
        """Return nothing: the reports name an unreachable worker."""
        return None

    def stage(self, configuration: Configuration) -> Deferred[IStagedChange | None]:
        """Send nothing yet: the worker is asked at the commit, so that an unreachable one holds up no file."""
        return succeed(HttpChange(self, configuration))

    def inspect(self) -> Deferred[OutputState]:
        return Deferred.fromCoroutine(self._inspect())

    async def _inspect(self) -> OutputState:
        state = await self._worker.state()
        holds = bool(self._committed) and state.has_config
        if holds and state != self._seen:
            checksum = await self._worker.checksum()
            holds = checksum is None or checksum == self._committed
            if holds and (state.version is not None or not state.boot_id):
                self._seen = state
        return OutputState(holds, self._verified, state.boot_id, state.has_config)

    async def bring(self, configuration: Configuration) -> None:
        """
        Deliver a configuration and read it back; a worker that holds the document already is left alone.

        @raise ConfdError: see L{IWorkerClient.deliver}.
        """
        expected = configuration.document.checksum
        self._seen = None
        checksum = await self._worker.checksum()
        if checksum != expected:
            try:
                checksum = (await self._worker.deliver(configuration)).checksum
            except (Unprocessable, Conflict) as error:
                raise type(error)(error.code, explain_refusal(configuration.tag, error)) from None
            if checksum is None:
                checksum = await self._worker.checksum()
        if checksum not in (None, expected):
            raise Unavailable(
                "worker_differs", f"The worker accepted {configuration.tag} and then holds another document."
            )
        self._committed, self._verified = expected, checksum is not None


@implementer(IStagedChange)
@frozen(eq=False)
class HttpChange:
    """A delivery to the worker."""

    _output: HttpOutput
    _configuration: Configuration
    tests: Sequence[Step] = ()
    reloads: Sequence[Step] = ()
    probes: Sequence[Step] = ()

    def commit(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._output.bring(self._configuration))

    def roll_back(self) -> Deferred[None]:
        """Do nothing: nothing follows the worker in a set."""
        return succeed(None)

    def finish(self) -> Deferred[None]:
        return succeed(None)

    def discard(self) -> Deferred[None]:
        return succeed(None)
