"""The fakes that ship pass the suites that the real things pass."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.errors import Unavailable
from confd.model import Draft
from confd.testing import (
    MemoryStore,
    a_draft,
    make_iagentstore_tests,
    make_iauditstore_tests,
    make_ichangerequeststore_tests,
    make_ichangestore_tests,
    make_iconfigstore_tests,
    make_ifreezestore_tests,
    make_ipolicystore_tests,
    make_ireportstore_tests,
    make_irolloutstore_tests,
    make_itokenstore_tests,
    make_iwebhookstore_tests,
)


def memory_store(test: TestCase, first: Draft, keep: int = 0) -> MemoryStore:
    return MemoryStore(first, keep=keep)


class MemoryConfigStoreTests(make_iconfigstore_tests(memory_store)):  # type: ignore[misc]
    """L{MemoryStore} is an L{IConfigStore}."""


class MemoryChangeStoreTests(make_ichangestore_tests(memory_store)):  # type: ignore[misc]
    """L{MemoryStore} is an L{IChangeStore}."""


class MemoryAgentStoreTests(make_iagentstore_tests(memory_store)):  # type: ignore[misc]
    """L{MemoryStore} is an L{IAgentStore}."""


class MemoryReportStoreTests(make_ireportstore_tests(memory_store)):  # type: ignore[misc]
    """L{MemoryStore} is an L{IReportStore}."""


class MemoryChangeRequestStoreTests(make_ichangerequeststore_tests(memory_store)):  # type: ignore[misc]
    """See L{make_ichangerequeststore_tests}."""


class MemoryFreezeStoreTests(make_ifreezestore_tests(memory_store)):  # type: ignore[misc]
    """See L{make_ifreezestore_tests}."""


class MemoryPolicyStoreTests(make_ipolicystore_tests(memory_store)):  # type: ignore[misc]
    """See L{make_ipolicystore_tests}."""


class MemoryTokenStoreTests(make_itokenstore_tests(memory_store)):  # type: ignore[misc]
    """See L{make_itokenstore_tests}."""


class MemoryWebhookStoreTests(make_iwebhookstore_tests(memory_store)):  # type: ignore[misc]
    """See L{make_iwebhookstore_tests}."""


class MemoryRolloutStoreTests(make_irolloutstore_tests(memory_store)):  # type: ignore[misc]
    """See L{make_irolloutstore_tests}."""


class MemoryAuditStoreTests(make_iauditstore_tests(memory_store)):  # type: ignore[misc]
    """L{MemoryStore} is an L{IAuditStore}."""


class BrokenMemoryStoreTests(SynchronousTestCase):
    """A test can break it, and mend it."""

    def test_broken(self) -> None:
        store = MemoryStore(a_draft(1, poll_interval=30))
        store.broken = "The disk is full."
        self.assertEqual(store.problem(), "The disk is full.")
        for write in (store.publish(a_draft(2)), store.touch({}), store.retire_namespace("default")):
            self.assertEqual(self.failureResultOf(write, Unavailable).value.code, "storage_unavailable")
        self.assertEqual(len(self.successResultOf(store.current())), 1)

    def test_mended(self) -> None:
        store = MemoryStore(a_draft(1, poll_interval=30))
        store.broken = "The disk is full."
        self.failureResultOf(store.publish(a_draft(2)), Unavailable)
        store.broken = None
        self.assertEqual(self.successResultOf(store.publish(a_draft(2))).value.configuration.version, 2)
