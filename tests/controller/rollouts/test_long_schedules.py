"""Thousands of random schedules: the invariants of rollouts hold after each event of agents, people and clocks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.audit import verify
from confd.changes import ReceivedReport
from confd.controller.rollouts.plans import parse_plan
from confd.errors import ConfdError
from confd.model import DEFAULT_NAMESPACE, Registration, Tag
from confd.reports import ReportState
from confd.rollouts.plan import SUPERSEDE
from confd.testing.examples import an_epoch_change
from tests.budgets import budget
from tests.controller.rollouts.fleet import FakeAgent, JudgedStore, SmallController, a_change, ended, wish

#: Schedules, and events of each.
SCHEDULES, EVENTS = budget(25, 3000), 60

#: Waves and limits of short bakes, so that schedules reach the end.
PLANS = [
    parse_plan({"name": "p", "bake": 6, "last": {"max_failures": "30%", "on_failure": "pause"}} | plan)
    for plan in (
        {"waves": [{"count": 1}, {"percent": 30}, {"percent": 60, "max_failures": "30%"}]},
        {"waves": [{"count": 1}, {"percent": 80, "max_failures": "50%"}], "parallel": 2},
        {"waves": [{"count": 1, "checks": ["slo"]}, {"percent": 50}], "on_failure": "pause"},
        {"waves": [{"percent": 50, "quorum": 60, "hold": True}], "on_stall": "continue", "bake": 0},
        {"waves": []},
    )
]


@define(eq=False, slots=False)
class Schedule:
    """One controller after the other on one store, their agents, and the checks after each event."""

    case: SynchronousTestCase
    random: Random
    clock: Clock = field(factory=Clock)
    agents: list[FakeAgent] = field(factory=list)
    current: tuple[int, int] = (0, 0)
    epoch: int = 1
    joined: int = 0
    offset: timedelta = field(factory=timedelta)

    def __attrs_post_init__(self) -> None:
        self.store = JudgedStore(self.case, self.clock)
        self.controller = SmallController(self.store, self.clock)

    def run(self) -> None:
        """Let random events happen."""
        for _ in range(self.random.choice((1, 2, 3, 5, 8, 13))):
            self.join()
        events: list[tuple[Callable[[], object], int]] = [
            (self.poll, 16),
            (self.receive, 16),
            (self.deliver_report, 16),
            (self.pass_time, 30),
            (self.start, 9),
            (self.verb, 4),
            (self.check_verdict, 3),
            (self.repair, 2),
            (self.sleep, 2),
            (self.label, 1),
            (self.join, 2),
            (self.forget, 1),
            (self.reinstall, 2),
            (self.break_worker, 1),
            (self.publish, 1),
            (self.kill, 2),
            (self.outage, 1),
            (self.jump, 1),
            (self.stand_still, 1),
            (self.raise_epoch, 1),
        ]
        chosen = self.random.choices([each for each, _ in events], [weight for _, weight in events], k=EVENTS)
        for event in chosen:
            event()
            self.check()
        self.settle()

    @property
    def agent(self) -> FakeAgent:
        """Any agent."""
        return self.random.choice(self.agents)

    def join(self) -> None:
        """Register an agent, and let it apply what it is served."""
        self.joined += 1
        agent = FakeAgent(f"a{self.joined}", self.random, streams=self.random.random() < 0.3)
        ended(self.controller.registry.register(Registration(agent_id=agent.id)))
        self.agents.append(agent)
        self.turn(agent)

    def forget(self) -> None:
        """Forget an agent for good."""
        if len(self.agents) > 1:
            agent = self.agents.pop(self.random.randrange(len(self.agents)))
            ended(self.controller.registry.forget(agent.id))

    def reinstall(self) -> None:
        """Start an agent without its cache; its worker may have lost the document, too."""
        agent = self.agent
        agent.session, agent.sequence, agent.repairs = agent.session + 1, 0, 0
        agent.letters.clear()
        agent.reports.clear()
        if self.random.random() < 0.3:
            agent.held = None
        self.poll(agent)

    def sleep(self) -> None:
        """Let an agent fall asleep, or wake it up."""
        self.agent.asleep ^= True

    def break_worker(self) -> None:
        """Let a worker refuse bad documents from now on."""
        self.agent.broken = True

    def repair(self) -> None:
        """Let a worker lose its document, and its agent repair it."""
        agent = self.agent
        if agent.held is not None:
            agent.repairs += 1
            agent.report(agent.held, ReportState.APPLIED)

    def label(self) -> None:
        """Change a label of an agent."""
        stage = self.random.choice(("canary", None))
        ended(self.controller.registry.set_labels(self.agent.id, {"stage": stage}))

    def poll(self, agent: FakeAgent | None = None) -> None:
        """Let an agent poll, or look at its stream; the answer arrives later."""
        agent = agent or self.agent
        if agent.asleep:
            return
        snapshot, registry = self.controller.snapshot, self.controller.registry
        registry.polled(agent.id)
        if agent.streams and self.random.random() < 0.8:
            shown = snapshot.select(DEFAULT_NAMESPACE, agent.id)
            assert shown is not None
            if shown.order > agent.sent:
                agent.sent = shown.order
                self.served(agent, shown)
            return
        named = None if agent.held is None else f'"{agent.held}"'
        shown = ended(self.controller.rollouts.served(DEFAULT_NAMESPACE, named, agent.id))
        if isinstance(shown, ConfdError):
            self.case.assertIsNotNone(self.store.broken, shown.message)
            return
        if agent.held is not None:
            order = agent.held.epoch, agent.held.version
            self.case.assertGreaterEqual(shown.order, order, "P2: an agent is served less than it names")
        self.served(agent, shown)

    def served(self, agent: FakeAgent, shown: Any) -> None:
        """Check an answer, and send it to the agent."""
        if shown.order > self.current_order():
            self.case.assertIn(agent.id, self.members(), "P3: an agent without a row is served the candidate")
        agent.letters.append(shown)

    def receive(self, agent: FakeAgent | None = None) -> None:
        """Let an answer arrive late, twice or never."""
        agent = agent or self.agent
        if agent.letters and not agent.asleep:
            letter = self.random.choice(agent.letters)
            if self.random.random() < 0.9:
                agent.letters.remove(letter)
            if self.random.random() < 0.95:
                agent.receive(letter)

    def deliver_report(self, agent: FakeAgent | None = None) -> None:
        """Let a report arrive late, twice or never."""
        agent = agent or self.agent
        if not agent.reports:
            return
        report = self.random.choice(agent.reports)
        if self.random.random() < 0.9:
            agent.reports.remove(report)
        if self.random.random() < 0.95 and self.store.broken is None:
            now = self.clock.seconds()
            received = ReceivedReport(agent.id, DEFAULT_NAMESPACE, report, now, self.controller.now())
            (verdict,) = self.case.successResultOf(self.store.save_reports([received])).value
            if verdict.outcome is not None:
                self.controller.registry.reported([(received, verdict.outcome)])

    def turn(self, agent: FakeAgent) -> None:
        """Let an agent poll, apply and report without faults."""
        self.poll(agent)
        for letter in agent.letters:
            agent.receive(letter)
        agent.letters.clear()
        while agent.reports:
            report = agent.reports.pop(0)
            received = ReceivedReport(agent.id, DEFAULT_NAMESPACE, report, self.clock.seconds(), self.controller.now())
            if self.store.broken is None:
                (verdict,) = self.case.successResultOf(self.store.save_reports([received])).value
                self.controller.registry.reported([(received, verdict.outcome)])

    def pass_time(self) -> None:
        """Let time pass; most agents poll in it."""
        if self.random.random() < 0.5:
            self.store.broken = None
        for _ in range(self.random.randint(1, 3)):
            for agent in self.agents:
                if not agent.asleep and self.random.random() < 0.7:
                    self.turn(agent)
            self.clock.pump(self.random.choice(([0.1], [2], [2] * 5)))

    def start(self) -> None:
        """Start a rollout."""
        draft = a_change(self.random.choice((1, 2, 13)))
        ended(self.controller.rollouts.start(draft, self.random.choice(PLANS)))

    def publish(self) -> None:
        """Publish to all agents at once."""
        draft = a_change(self.random.choice((1, 2, 13)), rollout=self.random.choice(("direct", SUPERSEDE)))
        self.store.publish(draft).addErrback(lambda failure: failure.trap(ConfdError))

    def verb(self) -> None:
        """Let a person act on the newest rollout."""
        rollouts, number = self.controller.rollouts, len(self.store._rollouts)
        if number:
            open_before, broken = self.store._rollouts[-1].open, self.store.broken
            name = self.random.choice(("pause", "resume", "promote", "all", "abort", "replace"))
            if name == "replace":
                done = ended(rollouts.replace(number, a_change(self.random.choice((1, 2, 13))), wish()))
            elif name in ("promote", "all"):
                done = ended(rollouts.promote(number, name == "all", wish()))
            else:
                done = ended(getattr(rollouts, name)(number, wish()))
            if name == "abort" and open_before and not broken:
                self.case.assertEqual(self.store._rollouts[-1].state, "aborted", f"P8: {done}")

    def check_verdict(self) -> None:
        """Post the verdict of a check."""
        if self.store._rollouts:
            passed = self.random.random() < 0.8
            ended(self.controller.rollouts.post_check(len(self.store._rollouts), "slo", passed, wish()))

    def kill(self) -> None:
        """Kill the controller, perhaps between a commit and its change in memory, and start another one."""
        if self.random.random() < 0.5:
            self.store.subscribe(lambda: None)
            self.random.choice((self.start, self.verb, self.poll, self.deliver_report))()
        self.controller.kill()
        for agent in self.agents:
            agent.sent = (0, 0)
        self.controller = SmallController(self.store, self.clock, self.offset)

    def outage(self) -> None:
        """Let the store refuse writes, or work again."""
        self.store.broken = None if self.store.broken else "The disk is full."

    def jump(self) -> None:
        """Set the wall clock."""
        self.offset += timedelta(seconds=self.random.choice((-86400, -5, 5, 3600)))
        self.controller.wall_offset = self.offset

    def stand_still(self) -> None:
        """Stop the process for a while; no agent is silent then, as none could be heard: P20."""
        self.clock.advance(self.random.choice((6, 100, 400)))
        self.case.assertFalse(self.controller.driver.surroundings(DEFAULT_NAMESPACE).silent, "P20")

    def raise_epoch(self) -> None:
        """Begin another epoch, as after a restore."""
        if self.random.random() < 0.2 and self.store.broken is None:
            self.epoch += 1
            self.case.successResultOf(self.store.begin_epoch(an_epoch_change(self.epoch)))

    def current_order(self) -> tuple[int, int]:
        """Return epoch and number of the current version, on disk."""
        tag: Tag = self.store._current_of(DEFAULT_NAMESPACE).configuration.tag
        return tag.epoch, tag.version

    def members(self) -> set[str]:
        """Return the ids of the members of the open rollout, on disk."""
        rollout = self.store._open(DEFAULT_NAMESPACE)
        found = () if rollout is None else self.store._members_of(rollout.id)
        return {each.agent_id for each in found if not each.gone}

    def check(self) -> None:
        """Check the invariants that hold at any time."""
        case, store, snapshot = self.case, self.store, self.controller.snapshot
        current = self.current_order()
        anonymous = snapshot.select(DEFAULT_NAMESPACE, "")
        case.assertEqual(anonymous and anonymous.order, current, "P10")
        case.assertGreaterEqual(current, self.current, "P10: the current version falls")
        self.current = current
        revisions = store._revisions[DEFAULT_NAMESPACE]
        case.assertEqual(revisions[-1].configuration.version, len(revisions), "P11: versions have gaps")
        opened = [each for each in store._rollouts if each.open]
        case.assertLessEqual(len(opened), 1, "P11: two open rollouts")
        lane = snapshot.lane(DEFAULT_NAMESPACE)
        for rollout in opened:
            case.assertEqual(rollout.candidate, len(revisions), "P11: the candidate is not the newest version")
            case.assertEqual(current[1] == rollout.base, not rollout.in_last_wave, "P11: current version")
        if not opened or opened[0].in_last_wave:
            case.assertIsNone(lane, "P12: a lane without a rollout")
        else:
            case.assertEqual(lane and lane.members, self.members(), "P12: lanes differ from the store")

    def settle(self) -> None:
        """End an open rollout; all agents then reach the current version (P9)."""
        self.store.broken = None
        rollout = self.store._open(DEFAULT_NAMESPACE)
        if rollout is not None:
            base = self.store._revisions[DEFAULT_NAMESPACE][rollout.base - 1].configuration.document
            done = ended(self.controller.rollouts.abort(rollout.id, wish()))
            self.case.assertFalse(isinstance(done, ConfdError), "P8")
            document = self.store._current_of(DEFAULT_NAMESPACE).configuration.document
            self.case.assertEqual(document, base, "P9: an abort does not bring the document of the base")
        for agent in self.agents:
            agent.asleep = agent.broken = agent.streams = False
            self.turn(agent)
            self.case.assertEqual((agent.held and agent.held.version), self.current_order()[1], "P9")
        self.check()
        self.case.assertIsNone(verify(self.case.successResultOf(self.store.audit(100_000, None))).wrong, "P16")
        steps = sum(each.step - 1 for each in self.store._rollouts if each.state != "superseded")
        self.case.assertGreaterEqual(len(self.store._entries), steps, "P16: a transition without an entry")
        self.controller.kill()


class LongScheduleTests(SynchronousTestCase):
    def test_random_schedules(self) -> None:
        judged = 0
        for seed in range(SCHEDULES):
            schedule = Schedule(self, Random(seed))
            try:
                schedule.run()
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            judged += schedule.store.judged
        self.flushLoggedErrors()
        self.assertGreater(judged, SCHEDULES, "the schedules reach few transitions of confd")
