"""The live agents, and how they come to disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.liveness import SHARED_SILENT_AFTER_SECONDS
from confd.controller.agents.polls import POLLS_PER_TURN
from confd.controller.agents.rows import PAGE_ROWS
from confd.model import Draft, Registration
from confd.reports import HeardElsewhere
from confd.testing import MemoryStore, SharedMemory, SharedMemoryStore, a_draft
from tests.controller.harness import ADMIN, ControllerHarness


class CountingStore(MemoryStore):
    """
    A store that counts.

    @ivar touched: agents in each call of L{touch}.
    """

    def __init__(self, first: Draft) -> None:
        super().__init__(first)
        self.touched: list[int] = []

    def touch(self, polls: Mapping[str, datetime], shared: Collection[str] = ()) -> Deferred[None]:
        self.touched.append(len(polls))
        return super().touch(polls, shared)


class WriteBehindTests(SynchronousTestCase):
    """Polls cost no transaction each."""

    def setUp(self) -> None:
        store = CountingStore(a_draft(poll_interval=30))
        self.harness, self.saves = ControllerHarness(store), store.touched
        self.ids = [self.harness.join() for _ in range(3)]

    def stored(self) -> dict[str, object]:
        """When each agent polled last, as the disk knows it."""
        return {record.id: record.last_poll for record in self.successResultOf(self.harness.store.load_agents())}

    def test_one_transaction(self) -> None:
        """However many polls there are in a second."""
        for _ in range(50):
            for agent_id in self.ids:
                self.harness.registry.polled(agent_id)
        self.harness.clock.advance(1)
        self.assertEqual(self.saves, [3])
        self.assertNotIn(None, self.stored().values())
        self.harness.clock.advance(5)
        self.assertEqual(self.saves, [3])

    def test_flushed_at_the_end(self) -> None:
        """A stop loses nothing."""
        self.harness.registry.polled(self.ids[0])
        self.successResultOf(self.harness.stop())
        self.assertIsNotNone(self.stored()[self.ids[0]])

    def test_storage_comes_back(self) -> None:
        """What could not be written is written later, and nothing is logged every second."""
        self.harness.store.broken = "the disk is full"
        self.harness.registry.polled(self.ids[0])
        self.harness.clock.pump([1.0] * 5)
        self.assertIsNone(self.stored()[self.ids[0]])
        self.harness.store.broken = None
        self.harness.clock.advance(1)
        self.assertIsNotNone(self.stored()[self.ids[0]])

    def test_stopped_in_trouble(self) -> None:
        """The stop ends all the same."""
        self.harness.store.broken = "the disk is full"
        self.harness.registry.polled(self.ids[0])
        self.successResultOf(self.harness.stop())

    def test_registered_again_in_between(self) -> None:
        """What it says of itself now is what stays on disk."""
        self.harness.registry.polled(self.ids[0])
        self.harness.join(agent_id=self.ids[0], hostname="new")
        self.harness.clock.advance(1)
        stored = {record.id: record for record in self.successResultOf(self.harness.store.load_agents())}
        self.assertEqual(stored[self.ids[0]].hostname, "new")
        self.assertIsNotNone(stored[self.ids[0]].last_poll)


class MoveTests(SynchronousTestCase):
    """An agent that comes to another namespace."""

    def test_moves(self) -> None:
        """It counts there, and what it reported where it was is forgotten, on disk too."""
        harness = ControllerHarness()
        harness.caller().post("/api/v1/namespaces", json={"name": "blue", "config": {"url": "http://x"}}, auth=ADMIN)
        agent_id = harness.join(hostname="box")
        harness.report(agent_id, 1)
        registered_at = harness.registry.get(agent_id).registered_at
        harness.clock.advance(5)
        harness.join(agent_id=agent_id, hostname="box", namespace="blue")
        self.successResultOf(harness.stop())
        for each in (harness, ControllerHarness(harness.store)):
            self.assertEqual((each.registry.count("default"), each.registry.count("blue")), (0, 1))
            record = each.registry.get(agent_id)
            self.assertEqual((record.registered_at, record.report, record.reported_at), (registered_at, None, None))
            self.assertIsNone(each.registry.status(record).state)
        self.assertEqual(self.successResultOf(harness.store.load_outcomes()), [])


class LoadTests(SynchronousTestCase):
    """A controller that starts again."""

    def test_known_agents(self) -> None:
        """They are there, and get three intervals to say something before they are silent."""
        before = ControllerHarness()
        agent_id = before.join(hostname="box")
        before.registry.polled(agent_id)
        self.successResultOf(before.stop())
        after = ControllerHarness(before.store)
        record = after.registry.get(agent_id)
        self.assertEqual(record.hostname, "box")
        self.assertIsNotNone(record.last_poll)
        self.assertIsNone(after.registry.status(record).state)

    def test_storage_down_at_start(self) -> None:
        """It is tried again until it works."""
        harness = ControllerHarness(started=False)
        load = harness.store.load_agents
        harness.store.load_agents = lambda after, limit: harness.store.touch({})
        harness.store.broken = "locked"
        harness.feed.startService()
        harness.clock.pump([1.0] * 3)
        self.assertIsNotNone(harness.loading.problem())
        harness.store.broken = None
        harness.store.load_agents = load
        harness.clock.advance(1)
        self.assertIsNone(harness.loading.problem())

    def test_stopped_while_loading(self) -> None:
        """It ends."""
        harness = ControllerHarness(started=False)
        harness.store.load_agents = lambda after, limit: Deferred()
        harness.start()
        self.successResultOf(harness.stop())
        self.assertIsNotNone(harness.loading.problem())

    def test_more_than_a_page(self) -> None:
        before = ControllerHarness()
        for number in range(PAGE_ROWS + 1):
            work = before.registry.register(Registration(agent_id=f"a{number}"))
            self.successResultOf(Deferred.fromCoroutine(work))
        before.report("a7", 1)
        after = ControllerHarness(before.store)
        self.assertEqual(after.registry.count("default"), PAGE_ROWS + 1)
        self.assertEqual([each.id for each in next(after.registry.rows.slices("default", 2, "a1"))], ["a10", "a100"])
        self.assertEqual(after.convergence.progress("default", 1).applied, 1)

    def test_many_polls_of_other_controllers_are_shown_in_turns(self) -> None:
        """The last poll is shown after the first turn, in which the reactor has other work."""
        harness = ControllerHarness()
        last = harness.join()
        polls = {**{f"unknown-{number}": harness.now() for number in range(POLLS_PER_TURN)}, last: harness.now()}
        shown: list[datetime | None] = []

        def heard() -> Deferred[HeardElsewhere]:
            harness.clock.callLater(0, lambda: shown.append(harness.registry.get(last).last_poll))
            return succeed(HeardElsewhere(polls))

        harness.store.heard = heard
        harness.clock.advance(1)
        self.assertEqual((shown, harness.registry.get(last).last_poll), ([None], polls[last]))


class TimeTests(SynchronousTestCase):
    """Who is silent is judged by the monotonic clock."""

    def test_wall_clock_jumps(self) -> None:
        """A wall clock that is set by a day makes nobody silent (promise G11)."""
        harness = ControllerHarness()
        wall = [harness.now()]
        harness.registry._now = lambda: wall[0]
        joined = Deferred.fromCoroutine(harness.registry.register(Registration(agent_id="a")))
        record = self.successResultOf(joined).value
        wall[0] = wall[0].replace(year=2030)
        harness.registry.polled(record.id)
        self.assertIsNone(harness.registry.status(harness.registry.get(record.id)).state)
        wall[0] = wall[0].replace(year=2020)
        self.assertIsNone(harness.registry.status(harness.registry.get(record.id)).state)

    def test_short_intervals_leave_time_to_notice_the_end_of_another_controller(self) -> None:
        first = a_draft(1, poll_interval=1)
        for store, least in (
            (MemoryStore(first), 3.0),
            (SharedMemoryStore(SharedMemory(MemoryStore(first))), SHARED_SILENT_AFTER_SECONDS),
        ):
            harness = ControllerHarness(store)
            agent_id = harness.join()
            harness.registry.polled(agent_id)
            harness.clock.advance(least - 0.1)
            self.assertIsNone(harness.registry.status(harness.registry.get(agent_id)).state)
            harness.clock.advance(0.2)
            self.assertEqual(harness.registry.status(harness.registry.get(agent_id)).state, "silent")
