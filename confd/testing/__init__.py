"""
The test kit that ships with confd: fakes, and the contract suites that they and the real things pass alike.

A function makes a suite for a fixture, so that another store has its tests already::

    class PostgresStoreTests(make_iconfigstore_tests(postgres_fixture)):
        pass
"""

from confd.testing.agents import make_iagentstore_tests
from confd.testing.audits import make_iauditstore_tests
from confd.testing.brokers import BrokerFixture, MemoryBroker, MemoryServer, make_ibroker_tests
from confd.testing.change_requests import make_ichangerequeststore_tests
from confd.testing.changes import make_ichangestore_tests
from confd.testing.examples import (
    a_configuration,
    a_draft,
    a_received_report,
    a_token,
    an_agent,
    an_attempt,
    an_epoch_change,
)
from confd.testing.freezes import make_ifreezestore_tests
from confd.testing.memory import MemoryStore
from confd.testing.memory_shared import SharedMemory, SharedMemoryStore
from confd.testing.outputs import MemoryOutput, OutputFixture, make_ioutput_tests
from confd.testing.policies import make_ipolicystore_tests
from confd.testing.reports import make_ireportstore_tests
from confd.testing.rollouts import make_irolloutstore_tests
from confd.testing.shared import SharedStoreFixture, make_shared_store_tests
from confd.testing.stores import StoreFixture, make_iconfigstore_tests
from confd.testing.strategies import MemorySink, StrategyFixture, make_istrategy_tests
from confd.testing.tokens import make_itokenstore_tests
from confd.testing.webhooks import make_iwebhookstore_tests

__all__ = [
    "BrokerFixture",
    "MemoryBroker",
    "MemoryOutput",
    "MemoryServer",
    "MemorySink",
    "MemoryStore",
    "OutputFixture",
    "SharedMemory",
    "SharedMemoryStore",
    "SharedStoreFixture",
    "StoreFixture",
    "StrategyFixture",
    "a_configuration",
    "a_draft",
    "a_received_report",
    "a_token",
    "an_agent",
    "an_attempt",
    "an_epoch_change",
    "make_iagentstore_tests",
    "make_iauditstore_tests",
    "make_ibroker_tests",
    "make_ichangerequeststore_tests",
    "make_ichangestore_tests",
    "make_iconfigstore_tests",
    "make_ifreezestore_tests",
    "make_ioutput_tests",
    "make_ipolicystore_tests",
    "make_ireportstore_tests",
    "make_irolloutstore_tests",
    "make_istrategy_tests",
    "make_itokenstore_tests",
    "make_iwebhookstore_tests",
    "make_shared_store_tests",
]
