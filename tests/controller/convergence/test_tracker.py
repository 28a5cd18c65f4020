"""Who runs what: against a naive model, through restarts; the pictures; those who wait."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

from attrs import define, evolve, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.registry import Registry
from confd.controller.api.convergence import read_convergence
from confd.controller.convergence.archive import WRITE_INTERVAL_SECONDS
from confd.controller.convergence.report_intake import GATHER_SECONDS, MAX_WAITING, ReportIntake
from confd.controller.convergence.tracker import Convergence
from confd.controller.feed import Feed
from confd.errors import Gone, NotFound, Unavailable
from confd.model import DEFAULT_NAMESPACE, Registration, Tag
from confd.reports import Report, ReportState, Timings
from confd.testing import MemoryStore, a_draft, an_epoch_change
from tests.budgets import budget
from tests.controller.harness import START

INTERVAL = 30

STATES = ("failed", "silent", "applying", "pending", "applied", "passed")


class Turns(Clock):
    """A clock whose calls are not made in the turn in which they are asked for: a turn takes some time."""

    def __init__(self, turn: float) -> None:
        super().__init__()
        self._turn = turn

    def callLater(self, delay: float, callable: Any, *args: object, **kw: object) -> Any:
        return super().callLater(max(delay, self._turn), callable, *args, **kw)


class Parts:
    """What a convergence is made of."""

    def __init__(self, store: Any = None, kept: int = 3, per_turn: int = 2, turn: float = 0.0) -> None:
        self.clock, self.turn = Clock() if not turn else Turns(turn), turn
        self.store = store or MemoryStore(a_draft(poll_interval=INTERVAL))
        self.store.restart(self.clock.seconds)
        self.registry = Registry(self.store, self.clock, self.now, lambda namespace: INTERVAL)
        self.convergence = Convergence(self.store, self.registry, self.clock, kept, per_turn=per_turn, pause=turn)
        self.report_intake = ReportIntake(self.store, self.registry, self.convergence, self.clock, self.now)
        for service in (self.registry, self.report_intake, self.convergence):
            service.startService()
        self.feed = Feed(
            self.clock,
            self.store,
            [self.registry, self.convergence],
            [self.registry.load_rows, self.convergence.load_rows],
        )
        self.store.subscribe(self.feed.hint)
        self.registry.changes.add(self.convergence.agents_changed)
        self.feed.startService()
        self.sequence = 0

    @property
    def cluster(self) -> str:
        """The first 8 hex digits of the cluster id."""
        cluster_id: str = self.result(self.store.contents()).identity.cluster_id
        return cluster_id[:8]

    def now(self) -> Any:
        """The wall clock."""
        return START + timedelta(seconds=self.clock.seconds())

    def result(self, work: Any) -> Any:
        """What a coroutine or a L{Deferred} has come to, after the turns that it takes."""
        got: list[Any] = []
        Deferred.fromCoroutine(_awaited(work)).addBoth(got.append)
        for _ in range(0 if got else 100):
            self.clock.advance(self.turn)
        (value,) = got
        if hasattr(value, "raiseException"):
            value.raiseException()
        return value

    def publish(self, took: float = 0.0, namespace: str = DEFAULT_NAMESPACE) -> Tag:
        """Publish a document, whose commit takes C{took} seconds."""
        arrived = self.clock.seconds()
        self.clock.advance(took)
        revision = self.result(self.store.publish(a_draft(1, namespace=namespace, arrived=arrived))).value
        return revision.configuration.tag

    def join(self, agent_id: str, namespace: str = DEFAULT_NAMESPACE) -> None:
        """Register an agent."""
        self.result(self.registry.register(Registration("host-" + agent_id, agent_id=agent_id, namespace=namespace)))

    def report(
        self,
        agent_id: str,
        tag: Tag,
        state: ReportState = ReportState.APPLIED,
        spent: Timings = Timings(),  # noqa: B008
    ) -> None:
        """Report, and see it written."""
        self.sequence += 1
        report = Report(tag, state, spent=spent, session="s", sequence=self.sequence)
        taken = self.report_intake.take(agent_id, DEFAULT_NAMESPACE, report)
        self.clock.advance(GATHER_SECONDS)
        self.result(taken)

    def describe(self, version: int | None = None) -> Any:
        """The convergence."""
        return self.result(read_convergence(self.convergence, DEFAULT_NAMESPACE, version))

    def stop(self) -> None:
        """All of it; no timer is left."""
        self.result(self.convergence.stopService())
        self.result(self.report_intake.stopService())
        self.result(self.registry.stopService())
        assert self.clock.getDelayedCalls() == []


async def _awaited(work: Any) -> Any:
    return await work


@define(eq=False)
class Waiting:
    """One who waits, and what the model has it answered."""

    version: int
    quorum: float
    deadline: float
    answer: Deferred[bool]
    got: list[Any] = field(factory=list)
    expected: list[Any] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        """Write the answers down."""
        self.answer.addBoth(self.got.append)


class Model(RuleBasedStateMachine):
    """Publish, report, fall silent, forget, register, move and restart, in any order."""

    agents, waiting = Bundle("agents"), Bundle("waiting")

    def __init__(self) -> None:
        super().__init__()
        self.parts = Parts()
        self.tags = {1: Tag(self.parts.cluster, 1, 1)}
        self.heard: dict[str, float] = {}
        self.outcomes: dict[tuple[int, str], ReportState] = {}
        self.last: dict[str, int] = {}
        self.settled: dict[int, dict[str, int]] = {}
        self.waiters: list[Waiting] = []

    def kept(self) -> list[int]:
        """The versions whose outcomes are kept."""
        return sorted(self.tags)[-3:]

    def place(self, version: int, agent_id: str) -> str:
        """Where the agent is with a version."""
        outcome = self.outcomes.get((version, agent_id))
        if outcome is not None and outcome.final:
            return outcome.value
        if self.last.get(agent_id, 0) > version:
            return "passed"
        if self.parts.clock.seconds() - self.heard[agent_id] > 3 * INTERVAL:
            return "silent"
        return "pending" if outcome is None else "applying"

    def counts(self, version: int) -> dict[str, int]:
        """How many are where."""
        connection_limits = [self.place(version, agent_id) for agent_id in self.heard]
        return {state: connection_limits.count(state) for state in STATES}

    def settle(self) -> None:
        """Answer those who wait, as they are to be answered."""
        for each in self.waiters:
            states, count = [self.outcomes.get((each.version, who)) for who in self.heard], len(self.heard)
            if not each.expected and 100 * states.count(ReportState.APPLIED) >= each.quorum * count:
                each.expected.append(True)
            if not each.expected and 100 * (count - states.count(ReportState.FAILED)) < each.quorum * count:
                each.expected.append(False)
            if not each.expected and self.parts.clock.seconds() >= each.deadline:
                each.expected.append(False)

    def drop(self, agent_id: str) -> None:
        """It is not here any more."""
        del self.heard[agent_id]
        self.last.pop(agent_id, None)
        self.outcomes = {key: state for key, state in self.outcomes.items() if key[1] != agent_id}

    @rule()
    def publish(self) -> None:
        """A new version; the oldest one becomes a summary."""
        if len(self.tags) >= 3:
            oldest = self.kept()[0]
            self.settled[oldest] = self.counts(oldest)
            for each in self.waiters:
                if each.version == oldest and not each.expected:
                    each.answer.cancel()
                    each.expected.append(each.got[0])
        tag = self.parts.publish()
        self.tags[tag.version] = tag

    @rule(target=agents, agent_id=st.sampled_from("abcdef"))
    def join(self, agent_id: str) -> str:
        """An agent comes, or comes again."""
        self.parts.join(agent_id)
        self.heard[agent_id] = self.parts.clock.seconds()
        return agent_id

    @rule(agent_id=consumes(agents), forgotten=st.booleans())
    def leave(self, agent_id: str, forgotten: bool) -> None:
        """An agent is forgotten, or goes to another namespace."""
        if agent_id in self.heard:
            self.drop(agent_id)
            if forgotten:
                self.parts.result(self.parts.registry.forget(agent_id))
            else:
                self.parts.join(agent_id, "other")

    @rule(agent_id=agents, back=st.integers(0, 3), state=st.sampled_from(list(ReportState)))
    def report(self, agent_id: str, back: int, state: ReportState) -> None:
        """A report of a version, in any order."""
        version = max(1, max(self.tags) - back)
        if agent_id in self.heard:
            self.parts.report(agent_id, self.tags[version], state)
            self.heard[agent_id] = self.parts.clock.seconds()
            self.last[agent_id] = version
            if version in self.kept():
                self.outcomes[version, agent_id] = state

    @rule(agent_id=agents)
    def poll(self, agent_id: str) -> None:
        """A sign of life."""
        self.parts.registry.polled(agent_id)
        if agent_id in self.heard:
            self.heard[agent_id] = self.parts.clock.seconds()

    @rule(seconds=st.sampled_from([1, 40, 89, 120]))
    def time(self, seconds: int) -> None:
        """Nothing happens for a while."""
        self.parts.clock.advance(seconds)

    @rule(target=waiting, quorum=st.sampled_from([1, 50, 99.5, 100]), timeout=st.sampled_from([0.5, 30, 600]))
    def wait(self, quorum: float, timeout: float) -> Any:
        """Somebody waits for the current configuration."""
        tag = self.tags[max(self.tags)]
        deadline = self.parts.clock.seconds() + timeout
        answer = self.parts.convergence.reached(DEFAULT_NAMESPACE, tag, quorum, timeout)
        self.waiters.append(Waiting(tag.version, quorum, deadline, answer))
        return self.waiters[-1]

    @rule(waiter=consumes(waiting))
    def cancel(self, waiter: Waiting) -> None:
        """And hangs up."""
        if not waiter.got:
            waiter.answer.cancel()
            waiter.got[0].trap(CancelledError)
            waiter.expected.extend(waiter.got)

    @rule(target=waiting)
    def restart(self) -> Any:
        """All is as before, but that everyone has a new chance to speak, and nobody waits any more."""
        self.parts.stop()
        for each in self.waiters:
            each.expected = each.expected or [False]
        old, self.parts = self.parts, Parts(self.parts.store)
        self.parts.sequence = old.sequence
        self.heard = dict.fromkeys(self.heard, 0.0)
        return multiple()

    @invariant()
    def counts_are_right(self) -> None:
        """Of every version."""
        for version in self.kept():
            described = self.parts.describe(version)
            self.check(described, self.counts(version))
            progress = self.parts.convergence.progress(DEFAULT_NAMESPACE, version)
            assert progress is not None
            assert (progress.applied, progress.failed) == (described["applied"], described["failed"])
            lagging = sum(described[state] for state in STATES[:4])
            assert len(described["laggards"]) == lagging, described
        for version, counts in self.settled.items():
            self.check(self.parts.describe(version), counts)

    @invariant()
    def answers_are_right(self) -> None:
        """Each once, and none too many."""
        self.settle()
        for each in self.waiters:
            assert each.got == each.expected, each

    def check(self, described: Any, counts: dict[str, int]) -> None:
        """Prove that a picture is the one of the model."""
        assert {state: described[state] for state in STATES} == counts, (described, counts)
        assert described["targeted"] == sum(counts.values())

    def teardown(self) -> None:
        """No timer is left."""
        self.parts.stop()


class ConvergenceTests(SynchronousTestCase):
    """The convergence, and those who wait."""

    def setUp(self) -> None:
        self.parts = Parts()
        self.addCleanup(lambda: self.parts.stop())

    def test_against_a_model(self) -> None:
        """Whatever happens in whatever order."""
        run_state_machine_as_test(
            Model, settings=settings(max_examples=budget(40, 100), stateful_step_count=30, deadline=None, database=None)
        )

    def test_time_by_hop(self) -> None:
        """From the POST to applied, without what the agent waited before it reported; no two clocks are compared."""
        for number in range(200):
            self.parts.join(f"{number:03}")
        tag = self.parts.publish(took=0.25)
        self.parts.clock.advance(0.75)
        for number in range(200):
            self.parts.report(f"{number:03}", tag, spent=Timings(agent=1.0, worker=float(number), waited=500.0))
        summary = self.parts.describe()
        # Between two reports lies the time in which they gather.
        took = [500 + 1000 * GATHER_SECONDS * number for number in range(200)]
        self.assertAlmostEqual(summary["p50_ms"], took[99])
        self.assertAlmostEqual(summary["p99_ms"], took[197])
        self.assertAlmostEqual(summary["max_ms"], took[199])
        self.assertEqual(len(summary["curve_ms"]), 100)
        self.assertEqual((summary["curve_ms"][0], summary["curve_ms"][-1]), (500, summary["max_ms"]))
        self.assertEqual(summary["curve_ms"], sorted(summary["curve_ms"]))
        hops = summary["hops"]
        self.assertEqual([hops[hop]["max_ms"] for hop in ("commit", "agent", "worker", "ack")], [250, 1, 199, 500])
        self.assertAlmostEqual(hops["notify"]["max_ms"], max(took[number] - 251 - number for number in range(200)))

    def test_first_time_counts(self) -> None:
        """What was put right later was applied when it was applied first; one that failed is not counted."""
        self.parts.join("a")
        tag = self.parts.publish()
        self.parts.report("a", tag)
        for state in (ReportState.FAILED, ReportState.APPLIED):
            self.parts.clock.advance(60)
            self.parts.report("a", tag, state)
            summary = self.parts.describe()
            self.assertEqual(summary["max_ms"], None if state is ReportState.FAILED else 0)

    def test_absurd_wait(self) -> None:
        """An agent that waited longer than there was anything to wait for makes no time negative."""
        self.parts.join("a")
        self.parts.report("a", self.parts.publish(), spent=Timings(1.0, 1.0, 86_400_000.0))
        summary = self.parts.describe()
        self.assertEqual((summary["max_ms"], summary["hops"]["notify"]["max_ms"]), (0, 0))

    def test_restart(self) -> None:
        """What was known stays; a version whose POST another process took has no times for reports that come now."""
        for agent_id in "ab":
            self.parts.join(agent_id)
        tag = self.parts.publish()
        self.parts.report("a", tag, spent=Timings(1.0, 2.0, 3.0))
        before = self.parts.describe()
        self.parts.stop()
        self.parts = Parts(self.parts.store)
        self.assertEqual(self.parts.describe() | {"laggards": []}, before | {"laggards": []})
        self.parts.report("b", tag, spent=Timings(5.0, 6.0, 7.0))
        summary = self.parts.describe()
        self.assertEqual(
            (summary["applied"], summary["max_ms"], summary["curve_ms"]), (2, before["max_ms"], before["curve_ms"])
        )
        self.assertEqual(summary["hops"]["worker"]["max_ms"], 6)

    def test_laggards(self) -> None:
        """The first hundred, what is most urgent first."""
        for number in range(150):
            self.parts.join(f"{number:03}")
        tag = self.parts.publish()
        self.parts.clock.advance(91)
        for number, state in ((140, ReportState.APPLYING), (141, ReportState.APPLIED), (142, ReportState.FAILED)):
            self.parts.report(str(number), tag, state)
        summary = self.parts.describe()
        self.assertEqual([summary[state] for state in STATES], [1, 147, 1, 0, 1, 0])
        found = [(each["id"], each["state"]) for each in summary["laggards"]]
        self.assertEqual(found, [("142", "failed")] + [(f"{number:03}", "silent") for number in range(99)])

    def test_unknown_versions(self) -> None:
        """One that never was, and one of which nothing is kept."""
        for version in (0, -1, 2, 10**30):
            self.assertRaises(NotFound, self.parts.describe, version)
        self.parts.stop()
        self.parts.feed.stopService()
        for _ in range(3):
            self.parts.result(self.parts.store.publish(a_draft()))
        self.parts = Parts(self.parts.store)
        self.assertRaises(Gone, self.parts.describe, 1)
        nowhere = self.failureResultOf(self.parts.convergence.summary("nowhere", None), NotFound)
        self.assertEqual(nowhere.value.code, "unknown_namespace")

    def test_summary_that_cannot_be_written(self) -> None:
        """The publish goes on; the summary is kept in memory, and written later."""
        settle = self.parts.store.settle
        self.parts.store.settle = lambda *_: fail(Unavailable("storage_unavailable", "the disk is full"))
        for _ in range(3):
            self.parts.publish()
        self.parts.clock.advance(WRITE_INTERVAL_SECONDS)
        self.assertEqual((self.parts.describe()["version"], self.parts.describe(1)["version"]), (4, 1))
        self.assertIsNone(self.parts.result(self.parts.store.summary(DEFAULT_NAMESPACE, 1)))
        self.parts.store.settle = settle
        self.parts.clock.advance(WRITE_INTERVAL_SECONDS)
        self.assertIsNotNone(self.parts.result(self.parts.store.summary(DEFAULT_NAMESPACE, 1)))

    def test_summaries_are_written_together(self) -> None:
        """One write for a second of publishes; until then they are answered from memory."""
        written: list[Any] = []
        settle = self.parts.store.settle
        self.parts.store.settle = lambda archive: settle(archive).addCallback(lambda _: written.append(archive))
        for _ in range(5):
            self.parts.publish()
        summary = [self.parts.describe(version) for version in (1, 2, 3)]
        self.assertEqual(written, [])
        self.parts.clock.advance(WRITE_INTERVAL_SECONDS)
        self.assertEqual([[each[1] for each in archive] for archive in written], [[1, 2, 3]])
        self.assertEqual([self.parts.describe(version) for version in (1, 2, 3)], summary)

    def test_stored_summary_is_the_body_that_earlier_releases_stored(self) -> None:
        self.parts.join("a")
        self.parts.report("a", self.parts.publish())
        for _ in range(3):
            self.parts.publish()
        self.parts.clock.advance(WRITE_INTERVAL_SECONDS)
        body = dict(self.parts.describe(2))
        stored = self.parts.result(self.parts.store.summary(DEFAULT_NAMESPACE, 2))
        self.assertEqual(json.loads(stored), body)

    def test_summary_after_one_without_reports(self) -> None:
        """What nobody reported of says nothing of the next version."""
        self.parts.join("a")
        self.parts.report("a", self.parts.publish())
        for _ in range(4):
            self.parts.publish()
        summary = [self.parts.describe(version) for version in (1, 2, 3)]
        self.assertEqual(
            [(each["passed"], each["applied"], each["pending"]) for each in summary], [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
        )
        self.assertEqual([each["version"] for each in summary], [1, 2, 3])

    def test_summary_of_what_was_in_flight(self) -> None:
        """A version that is published while the controller stops has one, too."""
        for _ in range(2):
            self.parts.publish()
        self.parts.stop()
        self.parts.publish()
        self.assertIsNotNone(self.parts.result(self.parts.store.summary(DEFAULT_NAMESPACE, 1)))
        self.assertEqual(self.parts.clock.getDelayedCalls(), [])

    def test_wait_for_what_is_not_there(self) -> None:
        """Of a version that is not in memory, or another one under its number, nothing comes."""
        tag = self.parts.publish()
        for other in (evolve(tag, version=9), evolve(tag, epoch=2)):
            self.assertIs(self.parts.result(self.parts.convergence.reached(DEFAULT_NAMESPACE, other, 1, 5)), False)
        self.assertIs(self.parts.result(self.parts.convergence.reached("nowhere", tag, 1, 5)), False)

    def test_too_many_refused_it(self) -> None:
        """Nobody waits for what cannot come any more; a wait for less goes on."""
        for agent_id in "abcd":
            self.parts.join(agent_id)
        tag = self.parts.publish()
        all_of_them, half = (self.parts.convergence.reached(DEFAULT_NAMESPACE, tag, part, 5) for part in (100, 50))
        self.parts.report("a", tag, ReportState.FAILED)
        self.assertIs(self.successResultOf(all_of_them), False)
        self.parts.report("b", tag, ReportState.FAILED)
        self.assertNoResult(half)
        self.parts.report("c", tag, ReportState.FAILED)
        self.assertIs(self.successResultOf(half), False)
        self.assertIs(self.parts.result(self.parts.convergence.reached(DEFAULT_NAMESPACE, tag, 50, 5)), False)

    def test_nobody_to_wait_for(self) -> None:
        """All of none is reached."""
        self.assertIs(
            self.parts.result(self.parts.convergence.reached(DEFAULT_NAMESPACE, self.parts.publish(), 100, 5)), True
        )

    def test_one_hangs_up_while_another_is_answered(self) -> None:
        """It may even be the first one's doing."""
        self.parts.join("a")
        tag = self.parts.publish()
        first, second = (self.parts.convergence.reached(DEFAULT_NAMESPACE, tag, 100, 5) for _ in range(2))
        first.addCallback(lambda _: second.cancel())
        self.parts.report("a", tag)
        self.failureResultOf(second, CancelledError)

    def test_retired(self) -> None:
        """Nobody waits for a namespace that is out of use, and no report is taken for it."""
        self.parts.join("a")
        tag = self.parts.publish()
        waiting = self.parts.convergence.reached(DEFAULT_NAMESPACE, tag, 100, 5)
        self.parts.result(self.parts.store.retire_namespace(DEFAULT_NAMESPACE))
        self.assertIs(self.successResultOf(waiting), False)
        self.assertRaises(NotFound, self.parts.report, "a", tag)

    def test_who_listens(self) -> None:
        """Each change is notified, whatever the other listeners do."""
        summary: list[Any] = []
        self.parts.convergence.changes.add(lambda namespace: 1 / 0)
        self.parts.convergence.changes.add(summary.append)
        self.parts.registry.changes.add(lambda *what: summary.append(what))
        for what in (
            lambda: self.parts.join("a"),
            self.parts.publish,
            lambda: self.parts.report("a", Tag(self.parts.cluster, 1, 2)),
            lambda: self.parts.clock.advance(92),
            lambda: self.parts.registry.polled("a"),
            lambda: self.parts.registry.polled("a"),
            lambda: self.parts.join("a", "other"),
        ):
            what()
            summary.append("-")
        agent = (DEFAULT_NAMESPACE, ["a"])
        self.assertEqual(
            [each for each in summary if each not in (DEFAULT_NAMESPACE, "other")],
            [agent, "-", "-", agent, "-", agent, "-", agent, "-", "-", agent, *2 * [("other", ["a"])], "-"],
        )
        self.assertEqual((summary.count(DEFAULT_NAMESPACE), summary.count("other")), (7, 2))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 9)

    def test_forgotten_while_its_report_is_written(self) -> None:
        """It does not come back, and its agent hears that it has to register."""
        self.parts.join("a")
        tag = self.parts.publish()
        taken = self.parts.report_intake.take("a", DEFAULT_NAMESPACE, Report(tag, ReportState.APPLIED))
        self.parts.result(self.parts.registry.forget("a"))
        self.parts.clock.advance(GATHER_SECONDS)
        self.assertEqual(self.failureResultOf(taken, NotFound).value.code, "unknown_agent")
        self.assertEqual((self.parts.describe()["targeted"], self.parts.describe()["applied"]), (0, 0))
        self.assertEqual(self.parts.result(self.parts.store.load_outcomes()), [])

    def test_too_many_reports(self) -> None:
        """Those that wait are bounded."""
        self.parts.join("a")
        tag = self.parts.publish()

        def take(number: int) -> Deferred[None]:
            return self.parts.report_intake.take(
                "a", DEFAULT_NAMESPACE, Report(tag, ReportState.APPLIED, session="s", sequence=number)
            )

        taken = [take(number) for number in range(1, MAX_WAITING + 1)]
        self.assertRaises(Unavailable, take, MAX_WAITING + 1)
        self.parts.clock.advance(GATHER_SECONDS)
        self.assertEqual({self.successResultOf(each) for each in taken}, {None})
        self.assertNoResult(take(MAX_WAITING + 1))

    def test_reports_of_old_versions(self) -> None:
        """They tell what the agent runs, and change no picture; the epoch must be one that the namespace had then."""
        self.parts.join("a")
        first = self.parts.describe(1)["tag"]
        for _ in range(3):
            self.parts.publish()
        before = [self.parts.describe(version) for version in (1, 2, 3, 4)]
        self.parts.report("a", Tag.parse("1"))
        self.assertEqual(str(self.parts.registry.get("a").report.tag), first)
        self.assertEqual([self.parts.describe(version)["pending"] for version in (2, 3, 4)], [1, 1, 1])
        self.assertEqual(self.parts.describe(1), before[0])
        self.assertRaises(NotFound, self.parts.report, "a", evolve(Tag.parse(first), epoch=2))

    def test_report_of_another_clusters_version(self) -> None:
        """The number of a version from before the cluster was adopted names nothing that this cluster made."""
        self.parts.join("a")
        self.parts.publish()
        (renamed,) = self.parts.result(
            self.parts.store.begin_epoch(an_epoch_change(2, cluster_id=str(uuid.uuid4())))
        ).value
        tag = renamed.configuration.tag
        for wrong in (Tag.parse("2"), evolve(tag, epoch=1, version=2)):
            self.assertRaises(NotFound, self.parts.report, "a", wrong)
        self.parts.report("a", tag)
