"""Tests of L{confd.brokers.factory}."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.brokers.factory import follow_passwords, make_brokers
from confd.errors import StartError
from confd.interfaces import IBroker
from confd.runtime.options import read
from confd.runtime.reload import CHECK_INTERVAL_SECONDS
from confd.runtime.settings import BrokerSettings
from confd.testing.brokers import MemoryBroker
from tests.reactors import InstantReactor


class FollowTests(SynchronousTestCase):
    """L{follow_passwords}."""

    def test_each_broker_gets_its_changed_secret(self) -> None:
        environ = {}
        for name in ("REDIS_PASSWORD", "NATS_TOKEN", "KAFKA_PASSWORD"):
            Path(path := self.mktemp()).write_text(f"first {name}")
            environ[f"{name}_FILE"] = path
        settings, reactor = read(BrokerSettings, {"KAFKA_USERNAME": "confd"}, environ), InstantReactor()
        brokers = [MemoryBroker(), MemoryBroker(), MemoryBroker()]
        for broker, name in zip(brokers, ("REDIS", "NATS", "KAFKA"), strict=True):
            broker.name = name
            (followed,) = follow_passwords(reactor, settings, environ, [broker])
            followed.startService()
            self.addCleanup(followed.stopService)
        for name in ("REDIS_PASSWORD", "NATS_TOKEN", "KAFKA_PASSWORD"):
            Path(environ[f"{name}_FILE"]).write_text(f"the new {name}")
        reactor.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual(
            [(each.password, each.token) for each in brokers],
            [("the new REDIS_PASSWORD", None), (None, "the new NATS_TOKEN"), ("the new KAFKA_PASSWORD", None)],
        )
        self.assertEqual(list(follow_passwords(reactor, settings, {}, brokers)), [])


class FactoryTests(SynchronousTestCase):
    """L{make_brokers}."""

    def test_only_named_brokers_are_built(self) -> None:
        settings = read(BrokerSettings, {}, {})
        for names in ((), ("POLLER",), ("REDIS",), ("REDIS", "POLLER")):
            brokers = make_brokers(Clock(), settings, names)
            self.assertEqual([broker.name for broker in brokers], [name for name in names if name != "POLLER"])
            for broker in brokers:
                verifyObject(IBroker, broker)

    def test_tls_works_by_name_and_by_address(self) -> None:
        for address in ("redis.example.org:6380", "127.0.0.1:6380"):
            settings = read(BrokerSettings, {}, {"REDIS_ADDRESS": address, "REDIS_TLS_ENABLED": "true"})
            self.assertEqual(len(make_brokers(Clock(), settings, ["REDIS"])), 1)

    def test_kafka_without_its_library_says_how_to_install_it(self) -> None:
        script = (
            "import sys\n"
            "sys.modules['aiokafka'] = None\n"
            "from confd.brokers.factory import make_brokers\n"
            "from confd.errors import StartError\n"
            "try:\n"
            "    make_brokers(None, None, ['KAFKA'])\n"
            "except StartError as error:\n"
            "    print(error)\n"
        )
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        said = "DISTRIBUTION_STRATEGY: KAFKA needs aiokafka; install it with: pip install 'confd[kafka]'.\n"
        self.assertEqual(found.stdout, said)

    def test_ca_file_that_cannot_be_read_is_named(self) -> None:
        Path(path := self.mktemp()).write_text("no certificate")
        for file in (path, self.mktemp()):
            settings = read(BrokerSettings, {}, {"KAFKA_TLS_ENABLED": "true", "KAFKA_CA_FILE": file})
            error = self.assertRaises(StartError, make_brokers, InstantReactor(), settings, ["KAFKA"])
            self.assertIn(f"KAFKA_CA_FILE: {file} cannot be read: ", str(error))

    def test_process_without_brokers_imports_no_library(self) -> None:
        script = (
            "import sys\n"
            "from confd.brokers.factory import make_brokers\n"
            "make_brokers(None, None, ['POLLER'])\n"
            "print([name for name in sys.modules if name.partition('.')[0] in ('nats', 'txredisapi', 'aiokafka')"
            " or name == 'twisted.internet.reactor'])"
        )
        root = Path(__file__).parents[1]
        found = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
        self.assertEqual(found.stdout, "[]\n")
