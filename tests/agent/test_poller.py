"""Tests of L{confd.agent.poller}."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.agent.poller import Poller
from confd.agent.receiver import Receiver
from confd.agent.registration import RegistrationService
from confd.agent.version_guard import VersionGuard
from confd.codec.signing import KeyRing
from confd.errors import Malformed, NotFound, Unauthenticated, Unavailable
from confd.interfaces import IControllerClient, IHealth
from confd.model import Configuration, Poll, Registration, ServedConfig
from confd.runtime.offload import OrderedOffload
from confd.runtime.timing import Backoff
from tests.agent.fakes import AGENT_ID, OTHER_CLUSTER, FakeController, configuration

DOWN = Unavailable("down", "No controller answers.")


class PollerTests(SynchronousTestCase):
    """L{Poller}."""

    def setUp(self) -> None:
        self.build(1)

    def build(self, seed: int) -> None:
        self.clock = Clock()
        self.controller = FakeController(configuration(1))
        self.through: list[Configuration] = []
        self.version_guard = VersionGuard(self.through.append)
        random = Random(seed)
        self.registration_service = RegistrationService(
            self.clock, self.controller, Backoff(random), Registration(), lambda agent_id: None
        )
        self.receiver = Receiver(
            "default", KeyRing(), self.version_guard, OrderedOffload(maybeDeferred), lambda: self.poller.hint()
        )
        self.poller = Poller(
            self.clock, self.controller, self.receiver, self.registration_service, Backoff(random), random
        )

    def versions(self) -> list[int]:
        """Return the accepted versions."""
        return [each.version for each in self.through]

    def polls_within(self, seconds: int) -> int:
        """Return the number of polls in that time."""
        before = len(self.controller.polls)
        self.clock.pump([0.1] * (seconds * 10))
        return len(self.controller.polls) - before

    def test_it_polls_again_if_the_first_poll_had_no_id(self) -> None:
        """An agent that had an id before the registration does not poll again."""
        self.poller.startService()
        self.clock.advance(0)
        self.registration_service.resume(AGENT_ID, "")
        self.poller.registered()
        self.assertEqual(self.polls_within(3), 1)
        self.poller.registered()
        self.assertEqual(self.polls_within(3), 0)

    def test_retry_after_is_the_shortest_delay(self) -> None:
        """C{Retry-After} also delays polls after hints; without it the back-off of the agent applies."""
        busy = Unavailable("busy", "Later.")
        busy.retry_after = 60.0
        self.controller.failure = busy
        self.poller.startService()
        self.poller.hint()
        self.assertEqual(self.polls_within(59), 0)
        self.assertGreater(self.polls_within(20), 0)
        self.controller.failure = DOWN
        self.polls_within(80)
        self.assertGreater(self.polls_within(80), 2)

    def test_a_pushed_shorter_interval_is_used_at_once(self) -> None:
        """The new interval does not wait for the end of the old one."""
        self.controller.current = configuration(1, poll_interval=600)
        self.poller.startService()
        pushed = configuration(2, poll_interval=2)
        self.controller.current = pushed
        self.version_guard.offer(pushed)
        self.assertEqual(self.polls_within(10), 0)
        self.poller.reconsider(self.through[-1])
        self.assertGreaterEqual(self.polls_within(10), 4)

    def test_interfaces(self) -> None:
        verifyObject(IHealth, self.poller)
        verifyObject(IControllerClient, self.controller)

    def test_the_first_poll_is_at_once(self) -> None:
        self.poller.startService()
        self.assertEqual(self.versions(), [1])

    def test_polls_are_conditional_and_name_the_agent(self) -> None:
        self.registration_service.agent_id = "mine"
        self.poller.startService()
        self.clock.pump([33])
        self.assertEqual(self.controller.polls, [(None, "mine"), (configuration(1).tag, "mine")])

    @given(st.integers(), st.sampled_from([1, 2, 30, 3600]))
    def test_a_change_arrives_within_1_2_intervals(self, seed: int, interval: int) -> None:
        """Promise G4: whatever a broker does."""
        self.build(seed)
        self.controller.current = configuration(1, poll_interval=interval)
        self.poller.startService()
        self.controller.current = configuration(2, poll_interval=interval)
        self.clock.pump([interval * 0.05] * 24)
        self.assertEqual(self.versions(), [1, 2])

    @given(st.integers())
    def test_polls_keep_their_interval(self, seed: int) -> None:
        self.build(seed)
        self.poller.startService()
        self.assertIn(self.polls_within(300), (9, 10, 11))

    def test_follows_the_interval_of_the_configuration(self) -> None:
        self.controller.current = configuration(1, poll_interval=2)
        self.poller.startService()
        self.assertGreaterEqual(self.polls_within(60), 27)

    def test_follows_the_interval_of_the_registration_until_there_is_a_configuration(self) -> None:
        self.registration_service.poll_interval = 5
        self.controller.current = None
        self.poller.startService()
        self.assertEqual(self.poller._interval, 5)

    def test_polls_are_counted(self) -> None:
        """Polls are counted by result."""
        self.poller.startService()
        self.assertEqual(self.poller.polls, {"changed": 1, "unchanged": 0, "failed": 0, "objected": 0})
        self.polls_within(40)
        self.controller.failure = DOWN
        self.clock.pump([10] * 10)
        self.controller.failure = None
        self.controller.current = configuration(9, cluster_id=OTHER_CLUSTER)
        self.polls_within(40)
        self.assertGreater(self.poller.polls["unchanged"], 0)
        self.assertGreater(self.poller.polls["failed"], 0)
        self.assertGreater(self.poller.polls["objected"], 0)
        self.assertEqual(sum(self.poller.polls.values()), len(self.controller.polls))

    def test_silence_counts_from_the_last_answer(self) -> None:
        """Silence is zero at each answer."""
        self.poller.startService()
        self.controller.failure = DOWN
        self.clock.pump([1] * 100)
        self.assertEqual(self.poller.silence, 100)
        self.controller.failure = None
        self.clock.pump([1] * 31)
        self.assertLess(self.poller.silence, 31)

    # -- a controller that is away --

    @given(st.integers(), st.integers(1, 600))
    def test_it_recovers_within_the_backoff(self, seed: int, away: int) -> None:
        """The recovery takes 30 seconds at most."""
        self.build(seed)
        self.controller.failure = DOWN
        self.poller.startService()
        self.clock.pump([1] * away)
        self.controller.failure = None
        self.clock.pump([1] * 31)
        self.assertEqual(self.versions(), [1])

    def test_failures_increase_the_delay(self) -> None:
        """Promise G8."""
        self.controller.failure = DOWN
        self.poller.startService()
        self.polls_within(120)
        self.assertLess(self.polls_within(600), 80)

    def test_a_success_resets_the_backoff(self) -> None:
        self.controller.failure = DOWN
        self.poller.startService()
        self.clock.pump([1] * 300)
        self.controller.failure = None
        self.clock.pump([1] * 31)
        self.controller.failure = DOWN
        before = len(self.controller.polls)
        while len(self.controller.polls) == before:
            self.clock.advance(0.1)
        # The first five pauses take 13.2 seconds at most, where later ones take up to 30 each.
        self.assertGreaterEqual(self.polls_within(14), 5)

    def test_silence_is_a_problem_after_three_intervals(self) -> None:
        self.poller.startService()
        self.controller.failure = DOWN
        self.clock.pump([1] * 89)
        self.assertIsNone(self.poller.problem())
        self.clock.pump([1] * 2)
        self.assertEqual(self.poller.problem(), "No controller answers.")
        self.controller.failure = None
        self.clock.pump([1] * 31)
        self.assertIsNone(self.poller.problem())

    def test_silence_is_a_problem_at_once_without_a_configuration(self) -> None:
        """An agent without a cache is not ready before its controller answers."""
        self.controller.failure = DOWN
        self.poller.startService()
        self.clock.pump([1] * 2)
        self.assertEqual(self.poller.problem(), "No controller answers.")
        self.controller.failure = None
        self.clock.pump([1] * 31)
        self.assertIsNone(self.poller.problem())

    def test_a_redirect_is_a_problem_at_once(self) -> None:
        """A wrong address does not pass by itself, even if the agent has a configuration."""
        self.poller.startService()
        self.controller.failure = Malformed("redirect", "It leads to https://h; set CONTROLLER_URL to it.")
        self.clock.pump([1] * 33)
        self.assertEqual(self.poller.problem(), "It leads to https://h; set CONTROLLER_URL to it.")
        self.controller.failure = None
        self.clock.pump([1] * 31)
        self.assertIsNone(self.poller.problem())

    def test_a_hung_controller_is_a_problem(self) -> None:
        """The client has the deadline; the loop continues after it."""
        self.poller.startService()
        self.controller.hung = True
        self.clock.pump([1] * 34)
        self.assertEqual(len(self.controller.waiting), 1)
        self.controller.waiting[0].errback(DOWN)
        self.clock.pump([1] * 2)
        self.assertEqual(len(self.controller.waiting), 2)

    # -- answers that are none --

    def test_malformed_answers_never_end_the_loop(self) -> None:
        self.poller.startService()
        self.controller.failure = Malformed("unexpected_answer", "That is no configuration.")
        self.clock.pump([1] * 60)
        self.controller.failure = None
        self.controller.current = configuration(2)
        self.clock.pump([1] * 31)
        self.assertEqual(self.versions(), [1, 2])

    def test_a_defect_never_ends_the_loop(self) -> None:
        self.controller.hung = True
        self.poller.startService()
        self.controller.waiting[0].errback(ZeroDivisionError())
        self.controller.hung = False
        self.clock.pump([33])
        self.assertEqual(self.versions(), [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_wrong_credentials_are_a_problem_at_once_and_retried(self) -> None:
        self.poller.startService()
        self.controller.failure = Unauthenticated("bad_credentials", "Set CONTROLLER_PASSWORD.")
        with capturedLogs() as logs:
            self.clock.pump([1] * 120)
        self.assertEqual(self.poller.problem(), "Set CONTROLLER_PASSWORD.")
        self.assertEqual([event["reason"] for event in logs], ["Set CONTROLLER_PASSWORD."])
        self.assertGreater(len(self.controller.polls), 4)
        self.controller.failure = None
        self.clock.pump([1] * 31)
        self.assertIsNone(self.poller.problem())

    def test_an_unknown_namespace_is_a_problem_at_once(self) -> None:
        self.poller.startService()
        self.controller.failure = NotFound("unknown_namespace", "Namespace 'edge' does not exist.")
        self.clock.pump([33])
        self.assertEqual(self.poller.problem(), "Namespace 'edge' does not exist.")

    # -- controllers that offer what cannot be taken --

    def test_another_cluster_is_a_problem_until_the_right_one_answers(self) -> None:
        """Row F-12."""
        for wrong in (configuration(9, cluster_id=OTHER_CLUSTER), configuration(4)):
            self.build(1)
            self.controller.current = configuration(5)
            self.poller.startService()
            self.controller.current = wrong
            self.clock.pump([33])
            self.assertIn(str(wrong.tag), self.poller.problem() or "")
            self.assertEqual(self.versions(), [5])
            self.controller.current = configuration(5)
            self.clock.pump([33])
            self.assertIsNone(self.poller.problem())

    def test_an_answer_overtaken_by_a_push_leads_to_a_poll(self) -> None:
        """The overtaken answer is no problem, and the agent polls at once."""
        self.poller.startService()
        self.controller.hung = True
        self.clock.advance(33)
        self.version_guard.offer(configuration(3))
        self.controller.hung = False
        self.controller.waiting[0].callback(Poll(ServedConfig(configuration(2))))
        self.controller.current = configuration(3)
        before = len(self.controller.polls)
        self.assertIsNone(self.poller.problem())
        self.clock.advance(1)
        self.assertEqual((len(self.controller.polls) - before, self.poller.problem()), (1, None))

    # -- controllers that forgot the agent --

    def test_a_forgotten_agent_registers_again(self) -> None:
        self.registration_service.startService()
        self.poller.startService()
        self.controller.members.clear()
        self.clock.pump([1] * 34)
        self.assertEqual(len(self.controller.registrations), 2)
        self.clock.pump([1] * 330)
        self.assertEqual(len(self.controller.registrations), 2, "and is known from then on")

    def test_an_answer_to_a_poll_before_the_registration_is_no_sign_of_deletion(self) -> None:
        """An agent with an id starts with a controller that does not know it."""
        self.registration_service.agent_id = "mine"
        self.controller.hung = True
        self.poller.startService()
        self.controller.hung = False
        self.registration_service.startService()
        self.controller.waiting[0].callback(Poll(ServedConfig(configuration(1)), member=False))
        self.clock.advance(5)
        self.assertEqual(len(self.controller.registrations), 1)

    # -- hints --

    def test_a_hint_polls_soon(self) -> None:
        self.poller.startService()
        self.clock.advance(5)
        self.controller.current = configuration(2)
        self.poller.hint()
        self.clock.advance(0)
        self.assertEqual(self.versions(), [1, 2])

    def test_many_hints_make_one_request_a_second(self) -> None:
        """Rows F-23 and F-27."""
        self.poller.startService()
        before = len(self.controller.polls)
        for _ in range(1000):
            self.poller.hint()
            self.clock.advance(0.01)
        self.assertIn(len(self.controller.polls) - before, (9, 10))

    def test_the_last_of_many_hints_is_not_lost(self) -> None:
        self.poller.startService()
        self.poller.hint()
        self.clock.advance(0.5)
        self.controller.current = configuration(2)
        self.poller.hint()
        self.clock.pump([0.1] * 6)
        self.assertEqual(self.versions(), [1, 2])

    def test_a_hint_during_a_poll_makes_another(self) -> None:
        self.controller.hung = True
        self.poller.startService()
        self.clock.advance(5)
        self.poller.hint()
        self.clock.advance(0)
        self.controller.hung = False
        self.controller.waiting[0].callback(Poll(ServedConfig(configuration(1))))
        self.controller.current = configuration(2)
        self.clock.advance(0)
        self.assertEqual(self.versions(), [1, 2])

    def test_a_stop_leaves_no_timers(self) -> None:
        self.poller.startService()
        self.poller.hint()
        self.poller.stopService()
        self.poller.hint()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stop_cancels_the_poll(self) -> None:
        self.controller.hung = True
        self.poller.startService()
        stopping = self.poller.stopService()
        assert stopping is not None
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
