"""L{confd.testing.brokers.MemoryBroker} passes the suite that the real brokers pass."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.errors import Unavailable
from confd.model import DEFAULT_NAMESPACE
from confd.testing.brokers import MemoryBroker, MemoryServer, RecordingListener, make_ibroker_tests


def memory_brokers(test: TestCase) -> Callable[[], MemoryBroker]:
    """Brokers of one server."""
    return MemoryServer().broker


class MemoryBrokerTests(make_ibroker_tests(memory_brokers)):  # type: ignore[misc]
    """L{MemoryBroker} is an L{IBroker}."""


class BrokenMemoryServerTests(SynchronousTestCase):
    """A test can break it, and mend it."""

    def setUp(self) -> None:
        self.server, self.listener = MemoryServer(), RecordingListener()
        self.broker = self.server.broker()
        self.broker.listen(DEFAULT_NAMESPACE, self.listener.hear, self.listener.connected)

    def test_server_that_is_down_fails_calls(self) -> None:
        self.server.fail("REDIS_ADDRESS: it burns.")
        self.broker.startService()
        self.assertEqual((self.broker.problem(), self.listener.connections), ("REDIS_ADDRESS: it burns.", 0))
        self.failureResultOf(self.broker.announce(DEFAULT_NAMESPACE, b""), Unavailable)
        self.failureResultOf(self.broker.latest(DEFAULT_NAMESPACE), Unavailable)

    def test_server_may_come_back_empty(self) -> None:
        self.broker.startService()
        self.successResultOf(self.broker.announce(DEFAULT_NAMESPACE, b"1"))
        self.server.fail("It burns.")
        self.server.come_back()
        self.assertEqual((self.broker.problem(), self.listener.connections), (None, 2))
        self.assertIsNone(self.successResultOf(self.broker.latest(DEFAULT_NAMESPACE)))

    def test_server_may_come_back_with_its_announcements(self) -> None:
        self.broker.startService()
        self.successResultOf(self.broker.announce(DEFAULT_NAMESPACE, b"1"))
        self.server.fail("It burns.")
        self.server.come_back(empty=False)
        self.assertEqual(self.successResultOf(self.broker.latest(DEFAULT_NAMESPACE)), b"1")
