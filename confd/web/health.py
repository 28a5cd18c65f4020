"""What operators and load balancers ask of every role: is it alive, is it of use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from confd.errors import Unavailable
from confd.interfaces import IHealth
from confd.runtime.metrics import Metrics
from confd.web.api.endpoint import Answer, AnyQuery, Call, endpoint
from confd.web.auth.basic import Role
from confd.web.openapi.docs import Docs

#: The text format of Prometheus.
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds for which one rendering of C{/metrics} is given to everybody, and of one turn of the reactor that it takes.
FRESH, SLICE = 1.0, 0.005


class HealthBody(msgspec.Struct):
    """That it answers."""

    status: str


@define(eq=False)
class Health:
    """
    C{/health}, for roles that have no more to say there.

    @ivar starting: in trouble until the process answers what it is asked.
    """

    _starting: IHealth | None = None

    @endpoint(
        "GET",
        "/health",
        Role.ANYONE,
        "Whether the process lives and serves.",
        query=AnyQuery,
        docs=Docs(errors=(Unavailable,), tag="ops"),
    )
    async def health(self, call: Call) -> HealthBody:
        """
        Answer once the process serves.

        @raise Unavailable: C{starting}.
        """
        problem = self._starting.problem() if self._starting is not None else None
        if problem is not None:
            raise Unavailable("starting", problem)
        return HealthBody("ok")


@define(eq=False)
class Readiness:
    """
    C{/ready}.

    @ivar checks: each part whose trouble makes this process of no use, by a name for people.
    @ivar facts: what else is worth a look, by name; no reason not to be ready.
    """

    _checks: Mapping[str, IHealth]
    _facts: Mapping[str, Callable[[], str]] = field(factory=dict)

    def expose(self, metrics: Metrics) -> None:
        """Show the figures."""
        metrics.gauge(
            "confd_ready",
            "Whether each part does its work; the process is ready while all do.",
            lambda: {part: check.problem() is None for part, check in self._checks.items()},
            "part",
        )

    @endpoint(
        "GET",
        "/ready",
        Role.ANYONE,
        "Whether the process can do its work; 503 with the reasons while it cannot.",
        query=AnyQuery,
        docs=Docs(errors=(Unavailable,), tag="ops"),
    )
    async def ready(self, call: Call) -> dict[str, str]:
        """
        Ask each part.

        @raise Unavailable: with one sentence a part that is in trouble.
        """
        problems = [(part, problem) for part, check in self._checks.items() if (problem := check.problem()) is not None]
        if problems:
            details = [{"part": part, "message": problem} for part, problem in problems]
            raise Unavailable("not_ready", " ".join(problem for _, problem in problems), details)
        return {"status": "ready"} | {name: tell() for name, tell in self._facts.items()}


@define(eq=False)
class MetricsEndpoint:
    """C{/metrics}: rendered once a second at most, whoever asks, and in slices."""

    _metrics: Metrics
    _clock: IReactorTime
    _body: bytes = field(default=b"", init=False)
    _stale_at: float = field(default=-FRESH, init=False)
    _waiting: list[Deferred[bytes]] = field(factory=list, init=False)

    @endpoint(
        "GET",
        "/metrics",
        Role.ANYONE,
        "Figures for Prometheus.",
        query=AnyQuery,
        docs=Docs({200: EXPOSITION}, tag="ops"),
    )
    async def metrics(self, call: Call) -> Answer:
        """All of them, as text; not older than a second."""
        return Answer(await self._text(), content_type=EXPOSITION)

    def _text(self) -> Deferred[bytes]:
        if self._clock.seconds() < self._stale_at:
            return succeed(self._body)
        asker: Deferred[bytes] = Deferred()
        self._waiting.append(asker)
        if len(self._waiting) == 1:
            self._render(self._metrics.parts(), [])
        return asker

    def _render(self, parts: Iterator[bytes], done: list[bytes]) -> None:
        """Render for one slice, and go on in the next turn of the reactor."""
        ends = self._clock.seconds() + SLICE
        result: bytes | Failure
        try:
            for part in parts:
                done.append(part)
                if self._clock.seconds() >= ends:
                    self._clock.callLater(0, self._render, parts, done)
                    return
            result = self._body = b"".join(done)
            self._stale_at = self._clock.seconds() + FRESH
        except Exception:
            result = Failure()
        waiting, self._waiting = self._waiting, []
        for asker in waiting:
            asker.callback(result)
