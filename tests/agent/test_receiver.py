"""Tests of L{confd.agent.receiver}: nothing that comes over a broker is believed without a signature."""

from __future__ import annotations

import random
from typing import Any

from attrs import evolve
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.agent.receiver import Receiver
from confd.agent.version_guard import VersionGuard
from confd.codec import strict_json
from confd.codec.announcement import announce
from confd.codec.signing import KeyRing, SigningKey
from confd.interfaces import ISink
from confd.model import Configuration, ServedConfig
from tests.agent.fakes import KEY, OTHER_CLUSTER, configuration

STRANGER = SigningKey.generate()


class ReceiverTests(SynchronousTestCase):
    """L{Receiver}, of an agent that knows version 5 and the key of its controller."""

    def setUp(self) -> None:
        self.applied: list[Configuration] = []
        self.hints = 0
        self.keys = KeyRing()
        self.version_guard = VersionGuard(self.applied.append)
        self.receiver = Receiver("default", self.keys, self.version_guard, self.hint)
        self.receiver.served(ServedConfig(configuration(5), (KEY.public,)))
        self.lines: list[LogEvent] = []
        globalLogPublisher.addObserver(self.remember)
        self.addCleanup(globalLogPublisher.removeObserver, self.remember)

    def hint(self) -> None:
        """What the reconciler does."""
        self.hints += 1

    def remember(self, event: LogEvent) -> None:
        """What an operator reads."""
        if event.get("log_namespace", "").startswith("confd.") and event["log_level"].name in ("warn", "error"):
            self.lines.append(event)

    def doubted(self, *messages: bytes, hints: int | None = None) -> None:
        """Check that these are hints and nothing more, and that all of them are one line in the log."""
        before, counted = self.hints, self.receiver.unverified
        for message in messages:
            self.assertFalse(self.receiver.announced(message), message[:200])
        self.assertEqual(self.applied, [configuration(5)])
        self.assertEqual((self.hints, self.receiver.unverified), (before + len(messages), counted + len(messages)))
        self.assertEqual(len(self.lines), 1, self.lines)

    def test_interface(self) -> None:
        verifyObject(ISink, self.receiver)

    def test_known(self) -> None:
        self.assertEqual(self.receiver.known(), configuration(5).tag)
        self.assertIsNone(Receiver("default", KeyRing(), VersionGuard(self.applied.append), self.hint).known())

    def test_keys_of_a_controller_that_is_refused(self) -> None:
        """Whom this agent does not follow cannot tell it whom to believe."""
        foreign = ServedConfig(configuration(9, cluster_id=OTHER_CLUSTER), (STRANGER.public,))
        self.assertIsNotNone(self.receiver.served(foreign))
        self.assertFalse(self.receiver.announced(announce(configuration(6), STRANGER)))
        self.assertTrue(self.receiver.announced(announce(configuration(6), KEY)))

    def test_condition(self) -> None:
        """Without a key the whole answer is asked for; the Go system has none."""
        self.assertEqual(self.receiver.condition(), configuration(5).tag)
        keyless = Receiver("default", KeyRing(), self.version_guard, self.hint)
        self.assertIsNone(keyless.condition())
        go = VersionGuard(self.applied.append)
        go.offer(configuration(5, cluster_id="", epoch=0))
        self.assertEqual(Receiver("default", KeyRing(), go, self.hint).condition(), go.newest.tag)  # type: ignore[union-attr]

    def test_newer(self) -> None:
        """It is applied once, however often it comes, and no controller is asked."""
        message = announce(configuration(6), KEY)
        self.assertEqual([self.receiver.announced(message) for _ in range(3)], [True] * 3)
        self.assertEqual(self.applied, [configuration(5), configuration(6)])
        self.assertEqual((self.hints, self.receiver.unverified, self.lines), (0, 0, []))

    def test_gaps(self) -> None:
        """What was lost on the way is not missed."""
        self.assertTrue(self.receiver.announced(announce(configuration(99), KEY)))
        self.assertEqual(self.receiver.known(), configuration(99).tag)

    def test_a_hint(self) -> None:
        self.receiver.hint()
        self.assertEqual((self.hints, self.receiver.unverified), (1, 0))

    def test_what_is_known_already(self) -> None:
        """Whoever says it: it is no reason to ask."""
        self.assertTrue(self.receiver.announced(announce(configuration(5), KEY)))
        self.assertTrue(self.receiver.announced(announce(configuration(5), STRANGER)))
        self.assertEqual((self.hints, self.receiver.unverified, len(self.applied)), (0, 0, 1))

    def test_the_go_controller(self) -> None:
        """What it announces is never signed: each change is a hint, and the same again is none."""
        version_guard = VersionGuard(self.applied.append)
        receiver = Receiver("default", KeyRing(), version_guard, self.hint)
        version_guard.offer(configuration(5, cluster_id=""))
        message = b'{"version":"%d","config":{"url":"https://example.org/5"},"timestamp":"2026-01-02T03:04:05Z"}'
        self.assertTrue(receiver.announced(message % 5))
        self.assertEqual(self.hints, 0)
        self.assertFalse(receiver.announced(message % 6))
        self.assertEqual((self.hints, len(self.applied), self.lines), (1, 2, []))

    def test_unsigned(self) -> None:
        self.doubted(*(self.unsigned(configuration(version)) for version in range(6, 30)))

    def test_forged(self) -> None:
        self.doubted(*(announce(configuration(version), STRANGER) for version in range(6, 30)))

    def test_forged_under_the_name_of_the_key(self) -> None:
        forger = evolve(STRANGER, key_id=KEY.key_id)
        self.doubted(announce(configuration(6), forger), announce(configuration(10**17), forger))

    def test_a_version_from_the_future(self) -> None:
        message = announce(configuration(6), KEY).replace(b'"version":"6"', b'"version":"9223372036854775808"')
        self.doubted(message, message)

    def test_a_revoked_key(self) -> None:
        self.receiver.served(ServedConfig(configuration(5), (STRANGER.public,)))
        self.doubted(announce(configuration(6), KEY))
        self.assertTrue(self.receiver.announced(announce(configuration(6), STRANGER)))

    def test_both_keys_while_one_is_replaced(self) -> None:
        self.receiver.served(ServedConfig(configuration(5), (STRANGER.public, KEY.public)))
        self.assertTrue(self.receiver.announced(announce(configuration(6), KEY)))
        self.assertTrue(self.receiver.announced(announce(configuration(7), STRANGER)))

    def test_replayed(self) -> None:
        """Old ones, well signed: the controller is asked, in case that it is the one that is behind."""
        self.doubted(*(announce(configuration(version), KEY) for version in (1, 2, 3, 4)))

    def test_another_namespace(self) -> None:
        self.doubted(*(announce(configuration(version, namespace="other"), KEY) for version in (6, 7)))

    def test_another_cluster(self) -> None:
        """Only a key of both could do this: it is believed, objected to, and not applied."""
        for _ in range(3):
            self.assertTrue(self.receiver.announced(announce(configuration(6, cluster_id=OTHER_CLUSTER), KEY)))
        self.assertEqual((len(self.applied), len(self.lines)), (1, 1))

    def test_a_fork(self) -> None:
        """The same tag on another document: signed, the objection is said; forged, it is a hint as any other."""
        forked = configuration(5, data={"url": "http://forked/"})
        self.doubted(announce(forked, STRANGER))
        self.assertTrue(self.receiver.announced(announce(forked, KEY)))
        self.assertEqual((len(self.applied), len(self.lines)), (1, 2))

    def test_rubbish(self) -> None:
        seeded = random.Random(7)
        self.doubted(*(seeded.randbytes(100).replace(b"\0", b"\xff") + b"\xff" for _ in range(100)))

    def test_a_flood_of_large_rubbish(self) -> None:
        """A thousand times 1 MiB."""
        self.doubted(*([b"{" * 1_048_576] * 1000))

    def test_one_line_a_kind(self) -> None:
        """Whatever alternates, and wherever the mistakes in it are."""
        kinds = [b"\xff", self.unsigned(configuration(6)), announce(configuration(4), KEY)]
        for number in range(50):
            for message in (*kinds, b"[" + b"1," * number + b"x"):
                self.receiver.announced(message)
        self.assertEqual(sorted(line["kind"] for line in self.lines), ["not_json", "not_utf8", "older", "unverified"])
        self.assertEqual(self.receiver.unverified, 200)

    def test_said_again_after_a_good_one(self) -> None:
        for version in (6, 7):
            self.receiver.announced(b"\xff")
            self.receiver.announced(announce(configuration(version), KEY))
        self.assertEqual([line["kind"] for line in self.lines], ["not_utf8", "not_utf8"])

    def test_before_the_first_answer(self) -> None:
        """Nothing can be verified yet: a hint, and no news."""
        receiver = Receiver("default", KeyRing(), VersionGuard(self.applied.append), self.hint)
        self.assertFalse(receiver.announced(announce(configuration(6), KEY)))
        self.assertEqual((self.hints, self.lines), (1, []))

    # -- what is not taken --

    def test_a_push_that_is_older(self) -> None:
        """It was late, or the controller is behind: a poll tells, and only then it is said."""
        self.assertIn("older", self.receiver.served(ServedConfig(configuration(4))) or "")
        self.assertEqual((self.hints, self.version_guard.objection, self.lines), (1, None, []))

    def test_an_answer_that_is_older(self) -> None:
        objection = self.receiver.answered(ServedConfig(configuration(4)), configuration(5).tag)
        self.assertIn("older", objection or "")
        self.assertEqual((self.hints, len(self.lines)), (0, 1))

    def test_an_answer_that_was_overtaken(self) -> None:
        """While it was on its way a push brought a newer one: the next poll tells."""
        asked = configuration(3).tag
        self.assertIsNone(self.receiver.answered(ServedConfig(configuration(4)), asked))
        self.assertEqual((self.hints, self.version_guard.objection, self.lines), (1, None, []))

    def test_an_objection_stands_until_what_is_known_is_in_force(self) -> None:
        self.receiver.answered(ServedConfig(configuration(4)), configuration(5).tag)
        self.assertIn("older", self.receiver.answered(None, configuration(3).tag) or "", "it was asked on another one")
        self.assertIsNone(self.receiver.answered(None, configuration(5).tag))

    def test_the_objection_to_a_push_is_that_of_the_polls_too(self) -> None:
        """Two documents have the same name: an answer that only names it says nothing of that."""
        self.receiver.served(ServedConfig(configuration(5, data={"url": "http://forked/"})))
        self.assertIn("another document", self.receiver.answered(None, configuration(5).tag) or "")
        self.assertIsNone(self.receiver.answered(ServedConfig(configuration(5)), configuration(5).tag))

    def test_another_document_of_the_same_name(self) -> None:
        """A controller was restored, and published as many versions as it had lost: the whole answer tells."""
        forked = configuration(5, data={"url": "http://forked/"})
        self.receiver.answered(None, configuration(5).tag, configuration(5).document.checksum)
        self.assertEqual((self.hints, self.receiver.condition()), (0, configuration(5).tag))
        self.assertIsNone(self.receiver.answered(None, configuration(5).tag, forked.document.checksum))
        self.assertEqual((self.hints, self.receiver.condition()), (1, None))
        self.assertIn("another document", self.receiver.answered(ServedConfig(forked), configuration(5).tag) or "")
        self.assertEqual(self.receiver.condition(), configuration(5).tag)
        self.assertIn(
            "another document", self.receiver.answered(None, configuration(5).tag, forked.document.checksum) or ""
        )
        self.assertEqual((self.hints, self.applied), (1, [configuration(5)]))

    def unsigned(self, made: Configuration) -> bytes:
        """As one that means to pass for the Go controller's."""
        told: dict[str, Any] = strict_json.decode(announce(made, KEY), strict_json.ENVELOPE_DEPTH)
        del told["signature"], told["key_id"]
        return strict_json.encode(told)
