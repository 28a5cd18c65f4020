"""Tests of L{confd.controller.configs.announcer}: two controllers on one store, with one broker."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.announcement import read
from confd.controller.configs.announcer import DONE_INTERVAL_SECONDS
from confd.errors import Unavailable
from confd.testing import MemoryBroker, MemoryServer, MemoryStore, SharedMemory, SharedMemoryStore, a_draft
from tests.controller.harness import ControllerHarness
from tests.reactors import InstantReactor

#: Promise G4: the longest that a killed publisher delays an announcement.
KILLED_SECONDS = 2.2


class RecordingBroker(MemoryBroker):
    """
    Notes what one controller announces.

    @ivar working: whether it reaches the server.
    """

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(server)
        self.working = True
        self.made: list[tuple[str, int]] = []

    def announce(self, namespace: str, announcement: bytes) -> Deferred[None]:
        if not self.working:
            return fail(Unavailable("broker_unavailable", "The network is down."))
        self.made.append((namespace, read(announcement).configuration.version))
        return super().announce(namespace, announcement)


class AnnouncerTests(SynchronousTestCase):
    """Each version is announced once, by whichever controller can."""

    def setUp(self) -> None:
        self.clock, self.server = InstantReactor(), MemoryServer()
        store = MemoryStore(a_draft(1, poll_interval=30), seconds=self.clock.seconds)
        self.memory = SharedMemory(store, self.clock.seconds)
        (self.first, self.here), (self.second, self.there) = self.begin(), self.begin()

    def begin(self) -> tuple[ControllerHarness, RecordingBroker]:
        """Start a controller and its broker."""
        broker = RecordingBroker(self.server)
        broker.startService()
        harness = ControllerHarness(SharedMemoryStore(self.memory), brokers=[broker], clock=self.clock)
        self.addCleanup(harness.stop)
        return harness, broker

    def publish(self, harness: ControllerHarness, number: int, namespace: str = "default") -> None:
        """Publish at one controller."""
        self.successResultOf(harness.store.publish(a_draft(number, namespace=namespace)))
        self.clock.advance(0)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.clock.pump([0.1] * round(10 * seconds))

    def test_controller_of_a_change_announces_it_alone(self) -> None:
        self.publish(self.first, 2)
        self.assertEqual(self.here.made, [("default", 2)])
        self.publish(self.second, 3)
        self.pass_time(20)
        self.assertEqual((self.here.made, self.there.made), ([("default", 2)], [("default", 3)]))

    def test_another_controller_announces_what_a_killed_one_did_not(self) -> None:
        self.here.working = False
        self.publish(self.first, 2)
        self.pass_time(KILLED_SECONDS)
        self.assertEqual(self.there.made, [("default", 2)])
        self.pass_time(20)
        self.assertEqual(self.there.made, [("default", 2)])

    def test_newest_version_is_announced_where_several_are_late(self) -> None:
        self.here.working = self.there.working = False
        for number in (2, 3):
            self.publish(self.first, number)
        self.pass_time(1)
        self.there.working = True
        self.pass_time(KILLED_SECONDS)
        self.assertEqual(self.there.made, [("default", 3)])

    def test_controller_that_fails_leaves_the_announcement_to_another(self) -> None:
        self.here.working = self.there.working = False
        self.publish(self.first, 2)
        self.pass_time(8)
        self.assertEqual(self.there.made, [])
        self.here.working = True
        self.pass_time(8)
        self.assertEqual(self.here.made, [("default", 2)])

    def test_controller_that_does_not_reach_the_broker_claims_nothing(self) -> None:
        self.here.working = False
        self.there.problem = lambda: "The network is down."  # type: ignore[method-assign]
        self.publish(self.first, 2)
        self.pass_time(20)
        self.assertEqual(self.there.made, [])
        self.assertEqual(len(self.second.store.claim(["MEMORY"], 10**6, 0.0).result), 1)

    def test_start_announces_only_what_lags(self) -> None:
        self.successResultOf(self.first.store.create_namespace(a_draft(1, namespace="blue")))
        self.publish(self.first, 2)
        self.pass_time(5)
        for each in (self.here, self.there):
            each.working = False
        self.publish(self.first, 2, "blue")
        self.pass_time(1)
        _, third = self.begin()
        self.pass_time(10)
        self.assertEqual(third.made, [("blue", 2)])

    def test_change_that_nobody_is_to_get_is_settled(self) -> None:
        self.here.working = False
        self.successResultOf(self.first.store.create_namespace(a_draft(1, namespace="blue")))
        self.successResultOf(self.first.store.retire_namespace("blue"))
        self.pass_time(10)
        self.assertEqual(self.there.made, [])
        self.assertEqual({row.seq - row.done for row in self.memory.rows.values()}, {0})

    def test_new_key_is_announced_once(self) -> None:
        self.publish(self.first, 2)
        self.successResultOf(self.second.store.rotate_keys())
        self.pass_time(20)
        self.assertEqual((self.here.made, self.there.made), ([("default", 2)], [("default", 2)]))

    def test_deliveries_are_noted_before_they_are_late(self) -> None:
        self.publish(self.first, 2)
        self.clock.advance(DONE_INTERVAL_SECONDS)
        self.assertEqual(self.second.store.claim(["MEMORY"], 10**6, 0.0).result, [])
