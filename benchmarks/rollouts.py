"""
How fast does a rollout widen and end, and does it ever hold up the reactor?

One process with SQLite and a simulated fleet, whose agents apply at once. Run it with C{python -m benchmarks.rollouts}.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from zope.interface import implementer

from benchmarks.figures import quantile
from benchmarks.findings import Bar, Finding, Scale, main
from benchmarks.plots import Chart
from confd.audit import Attempt
from confd.changes import Change, Contents
from confd.codec import strict_json
from confd.codec.ranks import rank
from confd.controller.composition import Controller, compose
from confd.controller.rollouts.plans import parse_plan
from confd.controller.rollouts.service import Wish
from confd.interfaces import IChangeListener
from confd.model import DEFAULT_NAMESPACE, Draft, Registration
from confd.reports import Report, ReportState
from confd.runtime.daemon import utc_now
from confd.runtime.options import read
from confd.runtime.settings import ControllerSettings

#: Waves of the simulated fleet, the last one included.
PLAN = {"name": "bench", "bake": 0, "waves": [{"count": 1}, {"percent": 10}, {"percent": 50}]}

#: Seconds between two looks at the reactor, and agents that report in one turn.
LOOK_SECONDS, AGENTS_A_TURN = 0.005, 20

#: Reports that wait for their commit at a time.
REPORTS_UNDER_WAY = 500


@implementer(IChangeListener)
@define(eq=False)
class Watcher:
    """Notes when all parts of the controller have followed a change."""

    changed: Deferred[None] = field(factory=Deferred)

    def load(self, contents: Contents) -> None: ...

    def apply(self, change: Change) -> None:
        changed, self.changed = self.changed, Deferred()
        changed.callback(None)


@define(eq=False)
class Bench:
    """
    A controller and its agents.

    @ivar longest: the longest turn of the reactor so far, in seconds.
    @ivar busiest: the most processor time of the reactor's thread in one turn so far, in seconds.
    """

    reactor: Any
    parts: Controller
    agents: Sequence[str] = ()
    sequence: int = 0
    longest: float = 0.0
    busiest: float = 0.0
    timer: Any = None

    async def join(self, count: int) -> None:
        """Register agents, and let all of them report the current version."""
        self.agents = [f"agent-{number}" for number in range(count)]
        for at in range(0, count, 500):
            joins = [self.parts.registry.register(Registration(agent_id=each)) for each in self.agents[at : at + 500]]
            for each in [Deferred.fromCoroutine(join) for join in joins]:
                await each
        await self.report(self.agents, self.parts.snapshot.require(DEFAULT_NAMESPACE).configuration)

    async def report(self, agents: Sequence[str], configuration: Any) -> None:
        """Let agents report that they applied a configuration, a few in each turn."""
        self.sequence += 1
        waiting = []
        for number, agent_id in enumerate(agents):
            report = Report(configuration.tag, ReportState.APPLIED, session=agent_id, sequence=self.sequence)
            waiting.append(self.parts.report_intake.take(agent_id, DEFAULT_NAMESPACE, report))
            if number % AGENTS_A_TURN == 0:
                await self.pause(0)
            if len(waiting) == REPORTS_UNDER_WAY:
                await gatherResults(waiting)
                waiting.clear()
        await gatherResults(waiting)

    def pause(self, seconds: float) -> Deferred[None]:
        """Let the reactor work."""
        paused: Deferred[None] = deferLater(self.reactor, seconds)
        return paused

    def look(self, due: float = math.inf, spent: float = math.inf) -> None:
        """Measure how late this call is, and what the turns since the last one cost; look again."""
        now, used = self.reactor.seconds(), time.thread_time()
        self.longest, self.busiest = max(self.longest, now - due), max(self.busiest, used - spent)
        self.timer = self.reactor.callLater(LOOK_SECONDS, self.look, now + LOOK_SECONDS, used)

    async def start(self, value: int, plan: dict[str, Any]) -> int:
        """Start a rollout; return its id."""
        document = strict_json.document({"url": "https://example.com", "n": value})
        draft = Draft(DEFAULT_NAMESPACE, document, "bench", utc_now())
        stepped, _ = await self.parts.rollouts.start(draft, parse_plan(plan, "bench"))
        return stepped.rollout.id

    async def fleet(self) -> float:
        """Deliver one version in four waves; return the seconds."""
        began = self.reactor.seconds()
        number = await self.start(1, PLAN)
        done: set[str] = set()
        while True:
            view = await self.parts.rollouts.find(number)
            if not view.rollout.open:
                return float(self.reactor.seconds() - began)
            fresh = [each.agent_id for each in view.members if each.agent_id not in done]
            candidate = self.parts.snapshot.lane(DEFAULT_NAMESPACE)
            encoded = self.parts.snapshot.require(DEFAULT_NAMESPACE) if candidate is None else candidate.encoded
            done.update(fresh)
            await self.report(fresh, encoded.configuration)
            await self.pause(0.01)

    async def deciding_report(self, number: int, watcher: Watcher) -> float:
        """Return the seconds from the report that opens a gate until streams get the next wave."""
        rollout = await self.start(number, {"bake": 0, "waves": [{"count": 1}, {"count": 2}]})
        await self.pause(0.3)
        view = await self.parts.rollouts.find(rollout)
        lane = self.parts.snapshot.lane(DEFAULT_NAMESPACE)
        assert lane is not None
        changed = watcher.changed
        began = self.reactor.seconds()
        reported = Deferred.fromCoroutine(self.report([view.members[0].agent_id], lane.encoded.configuration))
        await changed
        took = float(self.reactor.seconds() - began)
        await reported
        await self.parts.rollouts.abort(rollout, Wish(None, Attempt("b", "", "b", DEFAULT_NAMESPACE, "", utc_now())))
        return took


@contextmanager
def controller(reactor: Any, folder: Path) -> Iterator[tuple[Controller, Watcher]]:
    """Build a controller on SQLite that listens to no port."""
    settings = read(ControllerSettings, {}, {"DB_PATH": str(folder / "confd.db")})
    parts, watcher = compose(reactor, settings, {}), Watcher()
    parts.feed._listeners = [*parts.feed._listeners, watcher]
    silent = [each for each in parts.services if "istener" not in type(each).__name__]
    for each in silent:
        each.startService()
    yield parts, watcher
    for each in reversed(silent):
        each.stopService()


def ranks(count: int) -> float:
    """Return the seconds that it takes to rank agents, and to sort them."""
    ids = [f"agent-{number}" for number in range(count)]
    began = time.perf_counter()
    sorted(ids, key=lambda agent_id: rank("12", agent_id))
    return time.perf_counter() - began


async def run(reactor: Any, count: int, times: int) -> dict[str, float]:
    """Measure with so many agents."""
    with tempfile.TemporaryDirectory() as folder, controller(reactor, Path(folder)) as (parts, watcher):
        bench = Bench(reactor, parts)
        await bench.pause(0.5)
        await bench.join(count)
        deciding = sorted([await bench.deciding_report(number + 100, watcher) for number in range(times)])
        bench.look()
        whole = await bench.fleet()
        bench.timer.cancel()
        return {
            "deciding": quantile(deciding, 0.99),
            "whole": whole,
            "turn": bench.longest,
            "turn, processor": bench.busiest,
        }


def measure(scale: Scale) -> Finding:
    """Measure the waves, the turns of the reactor, and the ranks."""
    from twisted.internet import reactor

    count, times = scale.known[0] if scale.name == "tiny" else 10_000, 5 if scale.name == "tiny" else 100
    found: dict[str, float] = {}

    def finished(result: Any) -> None:
        found.update(result if isinstance(result, dict) else {})
        reactor.stop()  # type: ignore[attr-defined]
        if not isinstance(result, dict):
            result.printTraceback(sys.stderr)

    reactor.callWhenRunning(  # type: ignore[attr-defined]
        lambda: Deferred.fromCoroutine(run(reactor, count, times)).addBoth(finished)
    )
    reactor.run()  # type: ignore[attr-defined]
    found["ranks"] = min(ranks(10_000) for _ in range(5))
    return Finding(
        "rollouts",
        "Rollouts",
        [{"agents": count, "ms": round(1000 * seconds, 1), "what": what} for what, seconds in found.items()],
        [
            Bar("deciding report to the first stream of the next wave, p99, ms", 1000 * found["deciding"], 1000, False),
            Bar(
                f"processor time of the longest turn, {count} agents in 4 waves, ms",
                1000 * found["turn, processor"],
                100,
                False,
            ),
            Bar("10 000 ranks and their sort, ms", 1000 * found["ranks"], 100, False),
        ],
        [Chart("Milliseconds", [(what, 1000 * seconds) for what, seconds in found.items()])],
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, measure))
