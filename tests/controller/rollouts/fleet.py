"""A small controller, and agents that talk to it by calls, for long random schedules of rollouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from confd.audit import Attempt
from confd.changes import Committed, ReceivedReport, ReportVerdict
from confd.codec import strict_json
from confd.controller.access.freezes import Freezes
from confd.controller.agents.registry import Registry
from confd.controller.configs.identity import ClusterIdentity
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.controller.feed import Feed
from confd.controller.rollouts.decide import count
from confd.controller.rollouts.driver import RolloutDriver
from confd.controller.rollouts.service import Rollouts, Wish
from confd.controller.rollouts.views import RolloutViews
from confd.errors import ConfdError, Unavailable
from confd.model import DEFAULT_NAMESPACE, Draft, Tag
from confd.reports import Report, ReportState
from confd.rollouts.rollout import Member, Rollout
from confd.rollouts.steps import Addition, Judge, NextStep, RolloutStep, Stepped
from confd.runtime.offload import Offload
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore

NOON = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class JudgedStore(MemoryStore):
    """
    A memory store that checks each transition against what it recomputes from all reports: P4, P5 and P6.

    @ivar judged: transitions that confd made by itself.
    """

    def __init__(self, case: SynchronousTestCase, clock: Clock) -> None:
        super().__init__(a_draft(1, poll_interval=30), seconds=clock.seconds)
        self.case, self.clock, self.judged = case, clock, 0
        #: When the present run of each member began, by rollout and agent.
        self.began: dict[tuple[int, str], float] = {}
        self.surroundings: Callable[[str], Any] = lambda namespace: None

    def save_reports(self, reports: Sequence[ReceivedReport]) -> Deferred[Committed[Sequence[ReportVerdict]]]:
        before = self.runs()
        saved = super().save_reports(reports)
        now = self.clock.seconds()
        self.began |= {key: now for key, runs in self.runs().items() if runs != before.get(key)}
        return saved

    def runs(self) -> dict[tuple[int, str], int]:
        """Return the runs of all members of the open rollout."""
        rollout = self._open(DEFAULT_NAMESPACE)
        members = () if rollout is None else self._members_of(rollout.id)
        return {(rollout.id, each.agent_id): each.runs for each in members if rollout is not None}

    def step_rollout(self, step: RolloutStep) -> Deferred[Committed[Stepped]]:
        return super().step_rollout(evolve(step, judge=self.checked(step.judge, step.attempt.who)))

    def checked(self, judge: Judge, who: str) -> Judge:
        """Return a judge whose automatic transitions are checked."""

        def checked(rollout: Rollout, members: Sequence[Member]) -> NextStep | Addition | None:
            following = judge(rollout, members)
            if who == "confd" and following is not None:
                self.judged += 1
                self.check(rollout, members, following)
            return following

        return checked

    def check(self, rollout: Rollout, members: Sequence[Member], following: NextStep | Addition) -> None:
        """Check a transition that confd makes by itself."""
        wave = rollout.plan.wave(rollout.wave)
        counts = count(members, rollout, self.surroundings(rollout.namespace))
        failed = counts.failures > wave.limit(counts.members) or False in rollout.verdicts.values()
        if failed:
            stopped = isinstance(following, NextStep) and following.state in ("aborted", "paused")
            self.case.assertTrue(stopped, "P6: a rollout with too many failures goes on")
            return
        gate = isinstance(following, NextStep) and following.reason in ("", "held")
        if not gate:
            return
        now = self.clock.seconds()
        settled = sum(
            not each.gone
            and each.state == "applied"
            and now - self.began.get((rollout.id, each.agent_id), now) >= wave.bake
            for each in members
        )
        least = max(1, -(-wave.quorum * (counts.applied + counts.pending) // 100))
        self.case.assertGreaterEqual(settled, least, "P5: the gate opens too early")
        self.case.assertEqual(rollout.to_expose, 0, "a wave passes before it is exposed")
        self.case.assertTrue(all(map(rollout.verdicts.get, wave.checks)), "a check is missing")


@define(eq=False, slots=False)
class SmallController:
    """The parts of a controller that serve agents and drive rollouts."""

    store: Any
    clock: Clock
    wall_offset: timedelta = field(factory=timedelta)

    def __attrs_post_init__(self) -> None:
        identity = ClusterIdentity()
        self.snapshot = Snapshot(identity.keys)
        self.registry = Registry(self.store, self.clock, self.now, self.snapshot.poll_interval)
        freezes = Freezes(self.store, self.now, lambda namespace: False)
        offload = Offload(execute)
        self.driver = RolloutDriver(self.store, self.registry, self.clock, self.now, offload, freezes.frozen_until)
        self.feed = Feed(
            self.clock,
            self.store,
            [identity, self.snapshot, self.registry, freezes, self.driver],
            [self.registry.load_rows],
        )
        self.store.subscribe(self.feed.hint)
        self.store.surroundings = self.driver.surroundings
        reader, views = ConfigReader(self.snapshot, self.feed), RolloutViews(self.store, self.driver)
        self.rollouts = Rollouts(
            self.store, self.driver, views, self.snapshot, reader, self.registry, self.feed, self.now, offload
        )
        self.registry.changes.add(self.driver.agents_changed)
        self.registry.changes.add(self.rollouts.agents_changed)
        for each in (self.registry, self.driver, self.feed):
            each.startService()

    def now(self) -> datetime:
        """Return the wall-clock time."""
        return NOON + timedelta(seconds=self.clock.seconds()) + self.wall_offset

    def kill(self) -> None:
        """End all timers, and follow no change any more."""
        self.store.subscribe(lambda: None)
        for each in self.clock.getDelayedCalls():
            each.cancel()


def wish() -> Wish:
    """Return the wish of a person."""
    return Wish(None, Attempt("ann", "", "verb", DEFAULT_NAMESPACE, "", NOON))


@define(eq=False, slots=False)
class FakeAgent:
    """
    An agent with its version guard and its worker.

    @ivar held: the tag that its worker holds.
    @ivar letters: answers under way, which arrive late, twice or never.
    @ivar streams: whether it has a stream in the place of polls.
    """

    id: str
    random: Random
    session: int = 1
    sequence: int = 0
    repairs: int = 0
    held: Tag | None = None
    broken: bool = False
    asleep: bool = False
    streams: bool = False
    sent: tuple[int, int] = (0, 0)
    letters: list[EncodedConfig] = field(factory=list)
    reports: list[Report] = field(factory=list)

    def receive(self, shown: EncodedConfig) -> None:
        """Apply a configuration that supersedes the one that the worker holds, and queue a report."""
        tag = shown.configuration.tag
        if self.held is not None and (self.held.epoch, self.held.version) >= (tag.epoch, tag.version):
            return
        if self.broken and shown.configuration.document == DOCUMENTS[13]:
            self.report(tag, ReportState.FAILED)
            return
        self.held = tag
        self.report(tag, ReportState.APPLIED)

    def report(self, tag: Tag, state: ReportState) -> None:
        """Queue a report."""
        self.sequence += 1
        self.reports.append(
            Report(tag, state, f"{self.id}-{self.session}", self.sequence, repairs=self.repairs, holds=self.held)
        )


def ended(coroutine: Any) -> Any:
    """Return the result of a coroutine that ends at once, or the error of confd that it raised."""
    results: list[Any] = []
    started = Deferred.fromCoroutine(coroutine)
    started.addBoth(results.append)
    if not results:
        return Unavailable("hangs", "No answer yet.")
    (result,) = results
    if isinstance(result, Failure):
        result.trap(ConfdError)
        return result.value
    return result


#: Documents of which those with 13 break some workers, encoded once.
DOCUMENTS = {value: strict_json.document({"url": f"https://example.com/{value}"}) for value in (1, 2, 13)}


def a_change(value: int, **fields: Any) -> Draft:
    """Return a draft of a document."""
    return evolve(a_draft(0), document=DOCUMENTS[value], author="ann", **fields)
