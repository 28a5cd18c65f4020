"""Tests of L{confd.agent.registration}."""

from __future__ import annotations

import itertools
from random import Random

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.registration import RegistrationService
from confd.errors import Forbidden, TooMany, Unavailable, Unprocessable
from confd.model import Registration
from confd.reports import agent_alive
from confd.runtime.timing import Backoff
from tests.agent.fakes import AGENT_ID, FakeController

SELF = Registration(hostname="host-1", metadata="tier=edge", strategy="POLLER", namespace="default")


class RegistrationServiceTests(SynchronousTestCase):
    """L{RegistrationService}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.controller = FakeController(poll_interval=7)
        self.kept: list[str] = []
        self.tokens: list[str] = []
        self.joined = 0
        self.registration_service = RegistrationService(
            self.clock,
            self.controller,
            Backoff(Random(1)),
            SELF,
            self.kept.append,
            self.count_joined,
            self.tokens.append,
        )

    def count_joined(self) -> None:
        """Count a registration."""
        self.joined += 1

    def test_registers_at_once(self) -> None:
        """The id in the answer counts."""
        self.registration_service.startService()
        self.assertEqual(self.controller.registrations, [SELF])
        self.assertEqual((self.registration_service.agent_id, self.registration_service.poll_interval), (AGENT_ID, 7))
        self.assertEqual(self.kept, [AGENT_ID])

    def test_it_registers_with_its_previous_id(self) -> None:
        """The controller keeps one record for all restarts."""
        self.registration_service.agent_id = "mine"
        self.registration_service.startService()
        self.assertEqual(self.controller.registrations[0].agent_id, "mine")
        self.assertEqual((self.registration_service.agent_id, self.kept), ("mine", []))

    def test_it_takes_another_id_from_the_controller(self) -> None:
        """The Go controller assigns a new id at each registration."""
        self.registration_service.agent_id = "mine"
        self.controller.hung = True
        self.registration_service.startService()
        self.controller.hung = False
        self.controller.waiting[0].callback(FakeController().register(SELF).result)  # type: ignore[attr-defined]
        self.assertEqual((self.registration_service.agent_id, self.kept), (AGENT_ID, [AGENT_ID]))

    def test_it_retries_until_a_controller_answers(self) -> None:
        self.controller.failure = Unavailable("down", "No controller answers.")
        with capturedLogs() as logs:
            self.registration_service.startService()
            self.clock.pump([1] * 300)
        self.assertEqual(len(logs), 1, "said once")
        self.assertGreaterEqual(len(self.controller.registrations), 10)
        self.controller.failure = None
        self.clock.pump([1] * 31)
        self.assertEqual(self.registration_service.agent_id, AGENT_ID)

    def test_agent_whose_id_is_in_use_waits_an_interval_and_works_meanwhile(self) -> None:
        self.registration_service.agent_id = "mine"
        self.controller.failure = agent_alive("mine", 7)
        with capturedLogs() as logs:
            self.registration_service.startService()
            self.clock.pump([1] * 13)
        self.assertEqual(len(self.controller.registrations), 2)
        self.assertEqual(len(logs), 1, "said once")
        self.assertIsNone(self.registration_service.problem())
        self.assertIn("is alive", self.registration_service.notice())
        self.assertTrue(self.registration_service.may_report)
        self.assertFalse(self.registration_service.member)
        self.registration_service.confirm(False)
        self.controller.failure = None
        self.clock.pump([1] * 31)
        self.assertEqual(len(self.controller.registrations), 3)
        self.assertEqual((self.registration_service.notice(), self.registration_service.member), ("", True))

    def test_retry_after_is_the_shortest_delay(self) -> None:
        """Jitter lengthens each delay, so that a fleet does not return in one wave."""
        waits = set()
        for kind in (Unavailable, TooMany):
            busy = kind("busy", "Later.")
            busy.retry_after = 60
            self.setUp()
            self.controller.failure = busy
            self.registration_service.startService()
            times = [self.clock.seconds()]
            while len(times) < 6:
                self.clock.advance(0.5)
                if len(self.controller.registrations) > len(times):
                    times.append(self.clock.seconds())
            waits |= {later - sooner for sooner, later in itertools.pairwise(times)}
            self.registration_service.stopService()
        self.assertGreaterEqual(min(waits), 60)
        self.assertLessEqual(max(waits), 60 * 1.25 + 0.5)
        self.assertGreater(len(waits), 2)

    def test_a_refusal_is_a_problem(self) -> None:
        """A refusal is a problem in the words of the controller; a controller that is down is none."""
        for failure, said in (
            (Unprocessable("too_long", "The metadata is too long."), "The metadata is too long."),
            (Forbidden("agent_blocked", "The agent is blocked."), "The agent is blocked."),
            (Unavailable("down", "No controller answers."), None),
            (None, None),
        ):
            self.controller.failure = failure
            self.registration_service.running or self.registration_service.startService()
            self.clock.pump([1] * 100)
            problem = self.registration_service.problem()
            if said is None:
                self.assertIsNone(problem)
            else:
                self.assertIn(said, problem or "")
        self.assertTrue(self.registration_service.member)

    def test_a_starting_controller_is_not_logged(self) -> None:
        """The agent retries without a log line."""
        self.controller.failure = Unavailable("starting", "The controller is starting.")
        with capturedLogs() as logs:
            self.registration_service.startService()
            self.clock.advance(1)
        self.assertEqual((len(logs), self.registration_service.agent_id), (0, ""))
        self.controller.failure = None
        self.clock.pump([1] * 5)
        self.assertEqual(self.registration_service.agent_id, AGENT_ID)

    # -- a token of its own --

    def test_it_presents_its_token(self) -> None:
        """The token is presented after the registration, and from the start after a restart."""
        self.controller.token = "one"
        self.registration_service.startService()
        self.assertEqual((self.controller.presented, self.tokens), ((AGENT_ID, "one"), ["one"]))
        self.registration_service.stopService()
        self.setUp()
        self.controller.hung = True
        self.registration_service.resume(AGENT_ID, "one")
        self.registration_service.startService()
        self.assertEqual((self.controller.presented, self.tokens), ((AGENT_ID, "one"), []))

    def test_the_same_token_is_not_saved_again(self) -> None:
        """The service does not call C{keep_token}."""
        self.controller.token = "one"
        self.registration_service.resume(AGENT_ID, "one")
        self.registration_service.startService()
        self.assertEqual((self.controller.presented, self.tokens), ((AGENT_ID, "one"), []))

    def test_another_token_is_saved_and_presented(self) -> None:
        """A controller without tokens makes the old token useless."""
        self.registration_service.resume(AGENT_ID, "one")
        self.registration_service.startService()
        self.assertEqual((self.controller.presented, self.tokens), ((AGENT_ID, ""), [""]))
        self.controller.token = "two"
        self.forget()
        self.clock.advance(1)
        self.assertEqual((self.controller.presented, self.tokens), ((AGENT_ID, "two"), ["", "two"]))

    # -- a controller that forgot the agent --

    def forget(self) -> None:
        """The service logs the registration."""
        self.registration_service.startService()
        self.controller.members.clear()
        self.registration_service.confirm(known=False)

    def test_a_registration_makes_a_member(self) -> None:
        self.controller.window = 2.5
        self.assertFalse(self.registration_service.member)
        self.registration_service.startService()
        self.assertEqual(
            (self.registration_service.member, self.registration_service.report_window, self.joined), (True, 2.5, 1)
        )

    def test_registers_again_with_the_id_that_it_has(self) -> None:
        self.forget()
        self.assertEqual((self.registration_service.member, self.registration_service.agent_id), (False, AGENT_ID))
        self.clock.advance(1)
        self.assertEqual([each.agent_id for each in self.controller.registrations], ["", AGENT_ID])
        self.assertEqual((self.registration_service.member, self.joined, self.kept), (True, 2, [AGENT_ID]))

    def test_many_answers_lead_to_one_registration(self) -> None:
        self.forget()
        self.registration_service.confirm(known=False)
        self.clock.advance(1)
        self.assertEqual(len(self.controller.registrations), 2)

    def test_answers_before_the_registration_have_no_effect(self) -> None:
        self.controller.hung = True
        self.registration_service.startService()
        self.registration_service.confirm(known=False)
        self.clock.advance(60)
        self.assertEqual(len(self.controller.registrations), 1)

    def test_repeated_deletions_increase_the_delay(self) -> None:
        self.registration_service.startService()
        for _ in range(600):
            self.clock.advance(1)
            self.registration_service.confirm(known=False)
        self.assertTrue(10 <= len(self.controller.registrations) <= 80, len(self.controller.registrations))
        self.clock.advance(30)
        self.registration_service.confirm(known=True)
        self.registration_service.confirm(known=False)
        self.clock.advance(1)
        self.assertTrue(self.registration_service.member, "once it was known the next time is the first again")

    def test_a_stop_cancels_another_registration(self) -> None:
        self.forget()
        self.registration_service.stopService()
        self.registration_service.confirm(known=False)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_registers_once(self) -> None:
        self.registration_service.startService()
        self.clock.pump([60] * 10)
        self.assertEqual(len(self.controller.registrations), 1)

    def test_a_stop_cancels_the_registration(self) -> None:
        self.controller.failure = Unavailable("down", "No controller answers.")
        self.registration_service.startService()
        self.registration_service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_defect_is_logged(self) -> None:
        self.controller.hung = True
        self.registration_service.startService()
        self.controller.waiting[0].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
