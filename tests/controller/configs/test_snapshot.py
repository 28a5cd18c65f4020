"""Tests of L{confd.controller.configs.snapshot}."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.changes import RETIRED, Change
from confd.codec import announcement
from confd.codec.bodies import parse_served
from confd.codec.signing import KeyRing, SigningKey
from confd.codec.sse import Parser
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.errors import NotFound, Unavailable
from confd.interfaces import IHealth
from tests.agent.fakes import configuration
from tests.controller.changes import contents_of, revision_change

KEYS = (SigningKey.generate(), SigningKey.generate())


class EncodedConfigTests(SynchronousTestCase):
    """L{EncodedConfig}: one configuration in the words of every receiver."""

    def setUp(self) -> None:
        self.encoded = EncodedConfig.of(configuration(7), KEYS)

    def test_body(self) -> None:
        served = parse_served(self.encoded.body)
        self.assertEqual(served.configuration, configuration(7))
        self.assertEqual(served.keys, tuple(key.public for key in KEYS))

    def test_etag(self) -> None:
        self.assertEqual(self.encoded.etag, f'"{configuration(7).tag}"')

    def test_frame(self) -> None:
        (event,) = Parser(9999).feed(self.encoded.frame)
        self.assertEqual((event.name, event.id, event.data), ("config", str(configuration(7).tag), self.encoded.body))

    def test_announcement(self) -> None:
        """Signed by the key in use, and made once."""
        keys = KeyRing()
        keys.trust([KEYS[0].public])
        read = announcement.read(self.encoded.announcement)
        self.assertEqual((read.configuration, read.verified(keys)), (configuration(7), True))
        self.assertIs(self.encoded.announcement, self.encoded.announcement)

    def test_order(self) -> None:
        orders = [
            EncodedConfig.of(configuration(version, epoch=epoch), KEYS).order for epoch, version in ((1, 9), (2, 1))
        ]
        self.assertEqual(orders, sorted(orders))


class SnapshotTests(SynchronousTestCase):
    """L{Snapshot}."""

    def setUp(self) -> None:
        self.keys = KEYS
        self.snapshot = Snapshot(lambda: self.keys)

    def test_interface(self) -> None:
        verifyObject(IHealth, self.snapshot)

    def test_before_it_is_loaded(self) -> None:
        """No caller hears that a namespace does not exist while the controller cannot know."""
        error = self.assertRaises(Unavailable, self.snapshot.require, "default")
        self.assertEqual((error.code, error.message), ("starting", self.snapshot.problem()))
        self.assertRaises(Unavailable, self.snapshot.poll_interval, "default")
        self.assertIsNone(self.snapshot.announcement("default"))
        self.assertIsNone(self.snapshot.find("default"))

    def test_loaded(self) -> None:
        self.snapshot.load(contents_of(configuration(5), configuration(2, namespace="b", poll_interval=7)))
        self.assertIsNone(self.snapshot.problem())
        self.assertEqual(self.snapshot.namespaces(), ["b", "default"])
        self.assertEqual(self.snapshot.require("b").configuration.version, 2)
        self.assertEqual([self.snapshot.poll_interval(name) for name in ("b", "retired")], [7, 30])
        self.assertEqual(self.snapshot.announcement("b"), self.snapshot.require("b").announcement)
        self.assertEqual(self.assertRaises(NotFound, self.snapshot.require, "c").code, "unknown_namespace")

    def test_dropped(self) -> None:
        self.snapshot.load(contents_of(configuration(5), configuration(2, namespace="b")))
        for _ in range(2):
            self.snapshot.apply(Change(1, RETIRED, "b", None))
        self.assertIsNone(self.snapshot.find("b"))
        self.assertEqual(self.snapshot.namespaces(), ["default"])

    def test_keys_are_asked_for_each_time(self) -> None:
        """They are known only once the store has started, and change."""
        self.snapshot.load(contents_of(configuration(1)))
        self.keys = (SigningKey.generate(), KEYS[0])
        self.snapshot.apply(revision_change(configuration(2)))
        served = parse_served(self.snapshot.require("default").body)
        self.assertEqual(served.keys, tuple(key.public for key in self.keys))

    @given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), max_size=12))
    def test_only_what_is_newer_is_put(self, puts: list[tuple[int, int]]) -> None:
        """The first answer to a repeated request is no news."""
        self.snapshot.load(contents_of(configuration(1)))
        newest: Any = (1, 1)
        for epoch, version in puts:
            self.snapshot.apply(revision_change(configuration(version, epoch=epoch)))
            newest = max(newest, (epoch, version))
            self.assertEqual(self.snapshot.require("default").order, newest)
