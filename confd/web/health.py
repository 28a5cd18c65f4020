"""The endpoints of every role for operators and load balancers: health, readiness and metrics."""

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
from confd.web.api.endpoint import ANYONE, Answer, AnyQuery, Call, endpoint
from confd.web.openapi.docs import Docs

#: The text format of Prometheus.
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds for which one rendering of C{/metrics} answers all requests.
MAX_AGE_SECONDS = 1.0

#: Seconds that rendering takes of one turn of the reactor.
SLICE_SECONDS = 0.005


class HealthBody(msgspec.Struct):
    """The body of C{/health}."""

    status: str


@define(eq=False)
class Health:
    """
    C{/health}, for roles that report nothing else there.

    @ivar starting: has a problem until the process answers requests; C{None} for a role that answers from the start.
    """

    _starting: IHealth | None = None

    @endpoint(
        "GET",
        "/health",
        ANYONE,
        "Whether the process is alive and serves requests.",
        query=AnyQuery,
        docs=Docs(errors=(Unavailable,), tag="ops"),
    )
    async def health(self, call: Call) -> HealthBody:
        """
        Answer 200 once the process serves requests.

        @raise Unavailable: the process is still starting.
        """
        problem = self._starting.problem() if self._starting is not None else None
        if problem is not None:
            raise Unavailable("starting", problem)
        return HealthBody("ok")


@define(eq=False)
class Readiness:
    """
    C{/ready}.

    @ivar checks: the parts without which the process cannot work, by names for people.
    @ivar facts: texts for people, by name, empty for none; they do not decide whether the process is ready.
    """

    _checks: Mapping[str, IHealth]
    _facts: Mapping[str, Callable[[], str]] = field(factory=dict)

    def expose(self, metrics: Metrics) -> None:
        """Add the metric of readiness."""
        metrics.gauge(
            "confd_ready",
            "Whether each part works (1) or not (0); the process is ready while all parts work.",
            lambda: {part: check.problem() is None for part, check in self._checks.items()},
            "part",
        )

    @endpoint(
        "GET",
        "/ready",
        ANYONE,
        "Whether the process can do its work; if not, 503 with the reasons.",
        query=AnyQuery,
        docs=Docs(errors=(Unavailable,), tag="ops"),
    )
    async def ready(self, call: Call) -> dict[str, str]:
        """
        Check each part.

        @raise Unavailable: at least one part has a problem; the error has a sentence for each.
        """
        _require_ready(self._checks)
        return {"status": "ready"} | {name: text for name, fact in self._facts.items() if (text := fact())}


@define(eq=False)
class ReadReadiness:
    """
    C{/ready/read}, for the load balancer of agents.

    @ivar checks: the parts without which the process cannot answer agents from memory.
    """

    _checks: Mapping[str, IHealth]

    @endpoint(
        "GET",
        "/ready/read",
        ANYONE,
        "Whether the process can answer agents; if not, 503 with the reasons.",
        query=AnyQuery,
        docs=Docs(errors=(Unavailable,), tag="ops"),
    )
    async def ready(self, call: Call) -> dict[str, str]:
        """
        Check the parts that answer agents; a broker or storage that fails is not among them.

        @raise Unavailable: at least one part has a problem; the error has a sentence for each.
        """
        _require_ready(self._checks)
        return {"status": "ready"}


def _require_ready(checks: Mapping[str, IHealth]) -> None:
    problems = [(part, problem) for part, check in checks.items() if (problem := check.problem()) is not None]
    if problems:
        details = [{"part": part, "message": problem} for part, problem in problems]
        raise Unavailable("not_ready", " ".join(problem for _, problem in problems), details)


@define(eq=False)
class MetricsEndpoint:
    """C{/metrics}, rendered in slices, and at most once a second for all clients together."""

    _metrics: Metrics
    _clock: IReactorTime
    _body: bytes = field(default=b"", init=False)
    _stale_at: float = field(default=-MAX_AGE_SECONDS, init=False)
    _waiting: list[Deferred[bytes]] = field(factory=list, init=False)

    @endpoint(
        "GET",
        "/metrics",
        ANYONE,
        "Metrics in the text format of Prometheus.",
        query=AnyQuery,
        docs=Docs({200: EXPOSITION}, tag="ops"),
    )
    async def metrics(self, call: Call) -> Answer:
        """Return all metrics, at most one second old."""
        return Answer(await self._text(), content_type=EXPOSITION)

    def _text(self) -> Deferred[bytes]:
        if self._clock.seconds() < self._stale_at:
            return succeed(self._body)
        waiter: Deferred[bytes] = Deferred()
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            self._render(self._metrics.parts(), [])
        return waiter

    def _render(self, parts: Iterator[bytes], done: list[bytes]) -> None:
        """Render for one slice, and continue in the next turn of the reactor."""
        ends = self._clock.seconds() + SLICE_SECONDS
        result: bytes | Failure
        try:
            for part in parts:
                done.append(part)
                if self._clock.seconds() >= ends:
                    self._clock.callLater(0, self._render, parts, done)
                    return
            result = self._body = b"".join(done)
            self._stale_at = self._clock.seconds() + MAX_AGE_SECONDS
        except Exception:
            result = Failure()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(result)
