"""Tests of L{confd.dev}."""

from twisted.application.service import Service
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.dev import LOOK_SECONDS, StartedOnceReady


class StartedOnceReadyTests(SynchronousTestCase):
    """L{StartedOnceReady}"""

    def setUp(self):
        self.clock, self.problem, self.child = Clock(), "the configurations are not loaded yet", Service()
        self.service = StartedOnceReady(self.clock, lambda: self.problem)
        self.child.setServiceParent(self.service)

    def test_child_starts_once_the_other_part_is_ready(self):
        self.service.startService()
        self.clock.pump([LOOK_SECONDS] * 5)
        self.assertFalse(self.child.running)
        self.problem = None
        self.clock.advance(LOOK_SECONDS)
        self.assertTrue(self.child.running)
        self.successResultOf(self.service.stopService())
        self.assertFalse(self.child.running)

    def test_stop_before_that_starts_nothing(self):
        self.service.startService()
        self.service.stopService()
        self.problem = None
        self.clock.advance(LOOK_SECONDS)
        self.assertFalse(self.child.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])
