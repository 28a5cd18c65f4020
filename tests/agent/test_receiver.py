"""Tests of L{confd.agent.receiver}: nothing that comes over a broker is believed without a signature."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, cast

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.agent.receiver import MAX_PENDING, MAX_PENDING_BYTES, Receiver
from confd.agent.version_guard import VersionGuard
from confd.codec import bodies, strict_json
from confd.codec.announcement import announce
from confd.codec.signing import KeyRing, SigningKey
from confd.errors import Malformed
from confd.interfaces import ISink
from confd.model import Configuration, ServedConfig
from confd.runtime.offload import LARGE_BYTES, OrderedOffload
from tests.agent.fakes import KEY, OTHER_CLUSTER, HeldThreads, configuration

STRANGER = SigningKey.generate()


#: The ways in which L{Subject} brings a configuration.
WAYS = ("poll", "stream", "signed", "forged", "unsigned", "another key")


def large_configuration(version: int) -> Configuration:
    """Return a configuration that is decoded in a thread."""
    return configuration(version, data={"text": f"{version}" * LARGE_BYTES})


def unsigned(made: Configuration) -> bytes:
    """Return an announcement without a signature, like those of the Go controller."""
    members: dict[str, Any] = strict_json.decode(announce(made, KEY), strict_json.ENVELOPE_DEPTH)
    del members["signature"], members["key_id"]
    return strict_json.encode(members)


class Subject:
    """
    A receiver with version 5 and the key of its controller, and what came of it.

    @ivar results: what became of the bodies, in order.
    """

    def __init__(self, in_thread: Callable[..., Deferred[Any]]) -> None:
        self.applied: list[Configuration] = []
        self.results: list[object] = []
        self.hints = 0
        self.offload = OrderedOffload(in_thread)
        self.keys = KeyRing()
        self.keys.trust([KEY.public])
        self.version_guard = VersionGuard(self.applied.append)
        self.version_guard.offer(configuration(5))
        self.receiver = Receiver("default", self.keys, self.version_guard, self.offload, self.hint)

    def hint(self) -> None:
        """Count a hint."""
        self.hints += 1

    def bring(self, way: str, made: Configuration) -> None:
        """Bring a configuration in one of L{WAYS}."""
        brought: Deferred[Any]
        if way == "poll":
            brought = Deferred.fromCoroutine(self.poll(bodies.configuration_body(made, [KEY.public])))
        elif way == "stream":
            brought = self.receiver.served(bodies.configuration_body(made, [STRANGER.public]), str(made.tag))
        elif way == "unsigned":
            brought = self.receiver.announced(unsigned(made))
        else:
            key = {"signed": KEY, "another key": STRANGER}.get(way, evolve(STRANGER, key_id=KEY.key_id))
            brought = self.receiver.announced(announce(made, key))
        brought.addBoth(self.results.append)

    async def poll(self, raw: bytes) -> str | None:
        """Answer a poll as the client of the controllers does."""
        served = await self.offload.run(len(raw), bodies.parse_served, raw)
        return self.receiver.answered(served, self.receiver.known())

    def state(self) -> tuple[object, ...]:
        """Return what later bodies and reports depend on."""
        trusted = [self.keys.verify(key.key_id, key.sign(b""), b"") for key in (KEY, STRANGER)]
        guard = self.version_guard
        return self.applied, self.hints, self.receiver.unverified, guard.newest, guard.objection, trusted


class ReceiverTests(SynchronousTestCase):
    """L{Receiver}, of an agent that knows version 5 and the key of its controller."""

    def setUp(self) -> None:
        self.applied: list[Configuration] = []
        self.hints = 0
        self.keys = KeyRing()
        self.version_guard = VersionGuard(self.applied.append)
        self.receiver = Receiver("default", self.keys, self.version_guard, OrderedOffload(maybeDeferred), self.hint)
        self.served(configuration(5), (KEY.public,))
        self.lines: list[LogEvent] = []
        globalLogPublisher.addObserver(self.remember)
        self.addCleanup(globalLogPublisher.removeObserver, self.remember)

    def hint(self) -> None:
        """Count a hint."""
        self.hints += 1

    def served(self, made: Configuration, keys: tuple[str, ...] = ()) -> str | None:
        """Bring a configuration as a stream does; return the objection to it."""
        served = self.receiver.served(bodies.configuration_body(made, keys), str(made.tag))
        return cast(str | None, self.successResultOf(served))

    def announced(self, receiver: Receiver, message: bytes) -> bool:
        """Return whether a small message, or one that is decoded at once, is believed."""
        return bool(self.successResultOf(receiver.announced(message)))

    def remember(self, event: LogEvent) -> None:
        """Store the warnings and errors of confd."""
        if event.get("log_namespace", "").startswith("confd.") and event["log_level"].name in ("warn", "error"):
            self.lines.append(event)

    def doubted(self, *messages: bytes, hints: int | None = None) -> None:
        """Check that these are hints and nothing more, and that all of them are one line in the log."""
        before, counted = self.hints, self.receiver.unverified
        for message in messages:
            self.assertFalse(self.announced(self.receiver, message), message[:200])
        self.assertEqual(self.applied, [configuration(5)])
        self.assertEqual((self.hints, self.receiver.unverified), (before + len(messages), counted + len(messages)))
        self.assertEqual(len(self.lines), 1, self.lines)

    def test_interface(self) -> None:
        verifyObject(ISink, self.receiver)

    def test_known_is_the_newest_tag(self) -> None:
        self.assertEqual(self.receiver.known(), configuration(5).tag)
        self.assertIsNone(
            Receiver(
                "default", KeyRing(), VersionGuard(self.applied.append), OrderedOffload(maybeDeferred), self.hint
            ).known()
        )

    def test_keys_of_a_rejected_controller_are_not_trusted(self) -> None:
        """Only a controller whose configuration is accepted can change the trusted keys."""
        foreign = configuration(9, cluster_id=OTHER_CLUSTER)
        self.assertIsNotNone(self.served(foreign, (STRANGER.public,)))
        self.assertFalse(self.announced(self.receiver, announce(configuration(6), STRANGER)))
        self.assertTrue(self.announced(self.receiver, announce(configuration(6), KEY)))

    def test_polls_are_unconditional_until_a_key_is_known(self) -> None:
        """An agent of the Go system, which has no keys, polls conditionally."""
        self.assertEqual(self.receiver.poll_condition(), configuration(5).tag)
        keyless = Receiver("default", KeyRing(), self.version_guard, OrderedOffload(maybeDeferred), self.hint)
        self.assertIsNone(keyless.poll_condition())
        go = VersionGuard(self.applied.append)
        go.offer(configuration(5, cluster_id="", epoch=0))
        self.assertEqual(
            Receiver("default", KeyRing(), go, OrderedOffload(maybeDeferred), self.hint).poll_condition(), go.newest.tag
        )  # type: ignore[union-attr]

    def test_other_keys_of_the_controller_are_asked_for_once(self) -> None:
        tag, ids, others = configuration(5).tag, KEY.key_id, f"{STRANGER.key_id},{KEY.key_id}"
        for key_ids, condition in ((ids, tag), ("", tag), (others, None)):
            self.assertIsNone(self.receiver.answered(None, tag, key_ids=key_ids))
            self.assertEqual(self.receiver.poll_condition(), condition)
        self.served(configuration(5), (STRANGER.public, KEY.public))
        self.assertEqual((self.receiver.poll_condition(), self.keys.ids), (tag, (STRANGER.key_id, KEY.key_id)))
        hints = self.hints
        self.receiver.answered(None, tag, key_ids=others)
        self.receiver.answered(None, tag, key_ids="damaged")
        self.served(configuration(5), (STRANGER.public, KEY.public))
        self.receiver.answered(None, tag, key_ids="damaged")
        self.assertEqual((self.receiver.poll_condition(), self.hints), (tag, hints + 1))

    def test_a_newer_announcement_is_applied_once(self) -> None:
        """The same announcement may arrive again; none causes a poll."""
        message = announce(configuration(6), KEY)
        self.assertEqual([self.announced(self.receiver, message) for _ in range(3)], [True] * 3)
        self.assertEqual(self.applied, [configuration(5), configuration(6)])
        self.assertEqual((self.hints, self.receiver.unverified, self.lines), (0, 0, []))

    def test_versions_may_be_skipped(self) -> None:
        """Lost announcements do not matter."""
        self.assertTrue(self.announced(self.receiver, announce(configuration(99), KEY)))
        self.assertEqual(self.receiver.known(), configuration(99).tag)

    def test_a_hint_is_no_unverified_announcement(self) -> None:
        self.receiver.hint()
        self.assertEqual((self.hints, self.receiver.unverified), (1, 0))

    def test_the_newest_announcement_again_is_no_hint(self) -> None:
        """The signature does not matter, because the announcement changes nothing."""
        self.assertTrue(self.announced(self.receiver, announce(configuration(5), KEY)))
        self.assertTrue(self.announced(self.receiver, announce(configuration(5), STRANGER)))
        self.assertEqual((self.hints, self.receiver.unverified, len(self.applied)), (0, 0, 1))

    def test_announcements_of_the_go_controller_are_hints(self) -> None:
        """The Go controller never signs; the newest configuration again is no hint."""
        version_guard = VersionGuard(self.applied.append)
        receiver = Receiver("default", KeyRing(), version_guard, OrderedOffload(maybeDeferred), self.hint)
        version_guard.offer(configuration(5, cluster_id=""))
        message = b'{"version":"%d","config":{"url":"https://example.org/5"},"timestamp":"2026-01-02T03:04:05Z"}'
        self.assertTrue(self.announced(receiver, message % 5))
        self.assertEqual(self.hints, 0)
        self.assertFalse(self.announced(receiver, message % 6))
        self.assertEqual((self.hints, len(self.applied), self.lines), (1, 2, []))

    def test_an_unsigned_announcement_is_a_hint(self) -> None:
        self.doubted(*(unsigned(configuration(version)) for version in range(6, 30)))

    def test_a_forged_announcement_is_a_hint(self) -> None:
        self.doubted(*(announce(configuration(version), STRANGER) for version in range(6, 30)))

    def test_a_forged_announcement_with_the_id_of_the_key_is_a_hint(self) -> None:
        forger = evolve(STRANGER, key_id=KEY.key_id)
        self.doubted(announce(configuration(6), forger), announce(configuration(10**17), forger))

    def test_a_version_beyond_the_limit_is_a_hint(self) -> None:
        message = announce(configuration(6), KEY).replace(b'"version":"6"', b'"version":"9223372036854775808"')
        self.doubted(message, message)

    def test_a_revoked_key_is_not_trusted(self) -> None:
        self.served(configuration(5), (STRANGER.public,))
        self.doubted(announce(configuration(6), KEY))
        self.assertTrue(self.announced(self.receiver, announce(configuration(6), STRANGER)))

    def test_both_keys_are_trusted_during_a_replacement(self) -> None:
        self.served(configuration(5), (STRANGER.public, KEY.public))
        self.assertTrue(self.announced(self.receiver, announce(configuration(6), KEY)))
        self.assertTrue(self.announced(self.receiver, announce(configuration(7), STRANGER)))

    def test_a_replayed_announcement_is_a_hint(self) -> None:
        """The signatures are valid; the agent polls, because the controller may be behind."""
        self.doubted(*(announce(configuration(version), KEY) for version in (1, 2, 3, 4)))

    def test_an_announcement_for_another_namespace_is_a_hint(self) -> None:
        self.doubted(*(announce(configuration(version, namespace="other"), KEY) for version in (6, 7)))

    def test_a_signed_announcement_of_another_cluster_is_objected_to(self) -> None:
        """The announcement is believed, but not applied."""
        for _ in range(3):
            self.assertTrue(self.announced(self.receiver, announce(configuration(6, cluster_id=OTHER_CLUSTER), KEY)))
        self.assertEqual((len(self.applied), len(self.lines)), (1, 1))

    def test_a_fork_is_objected_to_if_signed_and_a_hint_if_forged(self) -> None:
        """The tag is the newest one, and the document is another one."""
        forked = configuration(5, data={"url": "http://forked/"})
        self.doubted(announce(forked, STRANGER))
        self.assertTrue(self.announced(self.receiver, announce(forked, KEY)))
        self.assertEqual((len(self.applied), len(self.lines)), (1, 2))

    def test_random_bytes_are_a_hint(self) -> None:
        seeded = random.Random(7)
        self.doubted(*(seeded.randbytes(100).replace(b"\0", b"\xff") + b"\xff" for _ in range(100)))

    def test_a_flood_of_large_bodies_is_one_log_line(self) -> None:
        """The flood is a thousand bodies of 1 MiB."""
        self.doubted(*([b"{" * 1_048_576] * 1000))

    def test_each_kind_of_hint_is_logged_once(self) -> None:
        """The order of the kinds and the positions of the mistakes do not matter."""
        kinds = [b"\xff", unsigned(configuration(6)), announce(configuration(4), KEY)]
        for number in range(50):
            for message in (*kinds, b"[" + b"1," * number + b"x"):
                self.announced(self.receiver, message)
        self.assertEqual(sorted(line["kind"] for line in self.lines), ["not_json", "not_utf8", "older", "unverified"])
        self.assertEqual(self.receiver.unverified, 200)

    def test_a_hint_is_logged_again_after_an_accepted_announcement(self) -> None:
        for version in (6, 7):
            self.announced(self.receiver, b"\xff")
            self.announced(self.receiver, announce(configuration(version), KEY))
        self.assertEqual([line["kind"] for line in self.lines], ["not_utf8", "not_utf8"])

    def test_a_hint_before_the_first_answer_is_not_logged(self) -> None:
        """No announcement can be verified before the first answer."""
        receiver = Receiver(
            "default", KeyRing(), VersionGuard(self.applied.append), OrderedOffload(maybeDeferred), self.hint
        )
        self.assertFalse(self.announced(receiver, announce(configuration(6), KEY)))
        self.assertEqual((self.hints, self.lines), (1, []))

    # -- objections --

    def test_an_older_push_is_a_hint_without_an_objection(self) -> None:
        """The push was late or the controller is behind; the poll decides, and only its result is logged."""
        self.assertIn("older", self.served(configuration(4)) or "")
        self.assertEqual((self.hints, self.version_guard.objection, self.lines), (1, None, []))

    def test_an_older_answer_is_objected_to(self) -> None:
        objection = self.receiver.answered(ServedConfig(configuration(4)), configuration(5).tag)
        self.assertIn("older", objection or "")
        self.assertEqual((self.hints, len(self.lines)), (0, 1))

    def test_an_overtaken_answer_is_a_hint_without_an_objection(self) -> None:
        """A push delivered a newer configuration during the poll; the next poll decides."""
        asked = configuration(3).tag
        self.assertIsNone(self.receiver.answered(ServedConfig(configuration(4)), asked))
        self.assertEqual((self.hints, self.version_guard.objection, self.lines), (1, None, []))

    def test_an_objection_stands_until_the_newest_is_current(self) -> None:
        self.receiver.answered(ServedConfig(configuration(4)), configuration(5).tag)
        self.assertIn("older", self.receiver.answered(None, configuration(3).tag) or "", "it was asked on another one")
        self.assertIsNone(self.receiver.answered(None, configuration(5).tag))

    def test_an_objection_to_a_push_stands_for_polls(self) -> None:
        """Two documents have the same tag, so an answer with only the tag does not end the objection."""
        self.served(configuration(5, data={"url": "http://forked/"}))
        self.assertIn("another document", self.receiver.answered(None, configuration(5).tag) or "")
        self.assertIsNone(self.receiver.answered(ServedConfig(configuration(5)), configuration(5).tag))

    def test_another_document_with_the_same_tag_is_fetched_and_objected_to(self) -> None:
        """A restored controller published as many versions as it had lost; the full answer shows the difference."""
        forked = configuration(5, data={"url": "http://forked/"})
        self.receiver.answered(None, configuration(5).tag, configuration(5).document.checksum)
        self.assertEqual((self.hints, self.receiver.poll_condition()), (0, configuration(5).tag))
        self.assertIsNone(self.receiver.answered(None, configuration(5).tag, forked.document.checksum))
        self.assertEqual((self.hints, self.receiver.poll_condition()), (1, None))
        self.assertIn("another document", self.receiver.answered(ServedConfig(forked), configuration(5).tag) or "")
        self.assertEqual(self.receiver.poll_condition(), configuration(5).tag)
        self.assertIn(
            "another document", self.receiver.answered(None, configuration(5).tag, forked.document.checksum) or ""
        )
        self.assertEqual((self.hints, self.applied), (1, [configuration(5)]))


class OrderTests(SynchronousTestCase):
    """L{Receiver}: large bodies are decoded off the reactor, and none overtakes another one."""

    def setUp(self) -> None:
        self.threads = HeldThreads()
        self.subject = Subject(self.threads)

    def test_hostile_bodies_are_decoded_off_the_reactor(self) -> None:
        """The bodies are a megabyte of integers and a megabyte of nested lists."""
        for document in (b"[" + b"1," * 500_000 + b"1]", b"[" * 500_000 + b"]" * 500_000):
            head = b'{"version":6,"data":{"a":' if document[1:2] == b"1" else b'{"version":6,"data":'
            body = head + document + b"}" * head.count(b"{")
            streamed = self.subject.receiver.served(body, "")
            announced = self.subject.receiver.announced(body.replace(b'"data"', b'"config"'))
            self.assertNoResult(streamed)
            self.assertNoResult(announced)
            self.assertEqual(self.threads.run_all(), 2)
            streamed.addErrback(lambda failure: failure.trap(Malformed))
            self.successResultOf(streamed)
            self.assertFalse(self.successResultOf(announced))

    def test_a_small_body_waits_for_a_large_one(self) -> None:
        large = self.subject.receiver.announced(announce(large_configuration(6), KEY))
        small = self.subject.receiver.announced(announce(configuration(7), KEY))
        self.assertEqual(self.subject.receiver.known(), configuration(5).tag)
        self.threads.run()
        self.assertTrue(self.successResultOf(large))
        self.assertNoResult(small)
        self.threads.run()
        self.assertTrue(self.successResultOf(small))
        self.assertEqual([each.version for each in self.subject.applied], [5, 6, 7])

    def test_a_stop_drops_what_waits(self) -> None:
        announced = self.subject.receiver.announced(announce(large_configuration(6), KEY))
        served = self.subject.receiver.served(bodies.configuration_body(configuration(7)), "")
        self.subject.receiver.stop()
        self.assertFalse(self.successResultOf(announced))
        self.failureResultOf(served, CancelledError)
        self.threads.run_all()
        self.assertEqual([each.version for each in self.subject.applied], [5])
        self.assertEqual(self.subject.receiver.unverified, 0)

    def test_a_flood_is_a_hint(self) -> None:
        """Number and size of the waiting announcements are bounded."""
        message = announce(large_configuration(6), KEY)
        waiting = [self.subject.receiver.announced(message) for _ in range(MAX_PENDING)]
        self.assertFalse(self.successResultOf(self.subject.receiver.announced(message)))
        self.assertEqual((self.subject.hints, self.threads.run_all()), (1, MAX_PENDING))
        self.assertEqual([self.successResultOf(each) for each in waiting], [True] * MAX_PENDING)
        vast = b"x" * (MAX_PENDING_BYTES // 2)
        waiting = [self.subject.receiver.announced(vast) for _ in range(2)]
        self.assertFalse(self.successResultOf(self.subject.receiver.announced(vast)))
        self.assertEqual((self.subject.hints, self.threads.run_all()), (2, 2))

    @given(st.lists(st.tuples(st.sampled_from(WAYS), st.integers(3, 9), st.booleans(), st.integers(0, 2))))
    def test_the_state_is_that_of_one_body_after_the_other(self, steps: list[tuple[str, int, bool, int]]) -> None:
        """Sizes of the bodies and progress of the threads do not matter."""
        threads = HeldThreads()
        sequence, queued = Subject(maybeDeferred), Subject(threads)
        for way, version, large, runs in steps:
            made = large_configuration(version) if large else configuration(version)
            for subject in (sequence, queued):
                subject.bring(way, made)
            for _ in range(min(runs, len(threads.held))):
                threads.run()
        threads.run_all()
        self.assertEqual(queued.state(), sequence.state())
        self.assertEqual(queued.results, sequence.results)
