"""What operators and load balancers ask of every role: is it alive, is it of use."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from attrs import define, field

from confd.interfaces import IHealth
from confd.metrics import Metrics
from confd.model import Unavailable
from confd.web.endpoint import Answer, AnyQuery, Call, endpoint
from confd.web.guard import Role
from confd.web.told import Told

#: The text format of Prometheus.
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Alive(msgspec.Struct):
    """That it answers."""

    status: str


@define(eq=False)
class Health:
    """C{/health}, for roles that have no more to say there."""

    @endpoint("GET", "/health", Role.ANYONE, "Whether the process lives.", query=AnyQuery, told=Told(tag="ops"))
    async def health(self, call: Call) -> Alive:
        """It answers, so it does."""
        return Alive("ok")


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
            lambda: {part: check.trouble() is None for part, check in self._checks.items()},
            "part",
        )

    @endpoint(
        "GET",
        "/ready",
        Role.ANYONE,
        "Whether the process can do its work; 503 with the reasons while it cannot.",
        query=AnyQuery,
        told=Told(errors=(Unavailable,), tag="ops"),
    )
    async def ready(self, call: Call) -> dict[str, str]:
        """
        Ask each part.

        @raise Unavailable: with one sentence a part that is in trouble.
        """
        troubles = [(part, trouble) for part, check in self._checks.items() if (trouble := check.trouble()) is not None]
        if troubles:
            details = [{"part": part, "message": trouble} for part, trouble in troubles]
            raise Unavailable("not_ready", " ".join(trouble for _, trouble in troubles), details)
        return {"status": "ready"} | {name: tell() for name, tell in self._facts.items()}


@define(eq=False)
class Figures:
    """C{/metrics}."""

    _metrics: Metrics

    @endpoint(
        "GET",
        "/metrics",
        Role.ANYONE,
        "Figures for Prometheus.",
        query=AnyQuery,
        told=Told({200: EXPOSITION}, tag="ops"),
    )
    async def metrics(self, call: Call) -> Answer:
        """All of them, as text."""
        return Answer(self._metrics.exposition(), content_type=EXPOSITION)
