"""Tests of L{confd.agent.doorbell}: who polls after a doorbell, when, and how often at most."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.doorbell import HINT_SPREAD_SECONDS, MAX_PER_SECOND, DoorbellListener
from confd.agent.version_guard import VersionGuard
from confd.codec.doorbell import MAX_DOORBELL_BYTES, Doorbell, sign
from confd.codec.ranks import rank
from confd.codec.retry_after import MAX_SECONDS
from confd.codec.signing import KeyRing, SigningKey
from tests.agent.fakes import KEY, configuration

STRANGER = SigningKey.generate()
LABELS = {"id": "a1", "hostname": "web-1", "strategy": "NATS", "stage": "canary"}
OWN = rank("12", "a1")
CLUSTER = configuration(5).cluster_id


def doorbell(key: SigningKey = KEY, **fields: Any) -> bytes:
    """Return a doorbell that picks the agent of these tests."""
    made = Doorbell("rollout", "default", CLUSTER, 12, 3, str(OWN), "12", "stage=canary", 4000)
    return sign(msgspec.structs.replace(made, **fields), key)


class Subject:
    """
    An agent with version 5 that trusts L{KEY}.

    @ivar polls: when it was to poll.
    """

    def __init__(self, **labels: str) -> None:
        self.clock, self.polls, self.guard = Clock(), list[float](), VersionGuard(lambda _: None)
        self.guard.offer(configuration(5))
        self.keys = KeyRing()
        self.keys.trust([KEY.public])
        self.listener = DoorbellListener(
            self.clock, "default", self.keys, self.guard, lambda: LABELS | labels, Random(1), self.poll
        )

    def poll(self) -> None:
        """Note a poll."""
        self.polls.append(self.clock.seconds())

    def hear(self, *messages: bytes, seconds: float = 0.0) -> int:
        """Take messages, let time pass, and return the polls since."""
        before = len(self.polls)
        for message in messages:
            self.listener.rung(message)
        self.clock.pump([0.25] * int(4 * seconds or 40))
        return len(self.polls) - before


class VerifiedTests(SynchronousTestCase):
    """Doorbells that a key of the controller signed."""

    def test_picked(self) -> None:
        """An agent that is picked polls once within the spread, whatever is repeated."""
        subject = Subject()
        self.assertEqual(subject.hear(doorbell()), 1)
        self.assertLessEqual(subject.polls[0], 4.0)
        self.assertEqual(subject.hear(*[doorbell()] * 10), 0)

    def test_not_picked(self) -> None:
        """Rank and labels decide, and an agent without an id has no rank."""
        for subject, message in (
            (Subject(), doorbell(cut=str(OWN - 1))),
            (Subject(), doorbell(salt="13", cut="0")),
            (Subject(), doorbell(select="stage=prod")),
            (Subject(), doorbell(select="!stage")),
            (Subject(), doorbell(select="stage = (")),
            (Subject(id=""), doorbell(cut=str(2**64 - 1))),
        ):
            self.assertEqual(subject.hear(message), 0)
        for message in (doorbell(select=""), doorbell(select="id=a1,hostname=web-1,strategy in (NATS)")):
            self.assertEqual(Subject().hear(message), 1)

    def test_others(self) -> None:
        """Doorbells of other clusters and namespaces are ignored, whoever signed them."""
        for fields in ({"cluster_id": "99999999-0000"}, {"namespace": "edge"}):
            for key in (KEY, STRANGER):
                self.assertEqual(Subject().hear(doorbell(key, **fields)), 0)

    def test_replay(self) -> None:
        """An old doorbell is ignored; a new wave, another rollout and a later batch are not."""
        subject, old = Subject(), doorbell(step=2)
        self.assertEqual(subject.hear(doorbell()), 1)
        self.assertEqual(subject.hear(old, doorbell(rollout=11, step=9), old), 0)
        self.assertEqual(subject.hear(doorbell(step=4)), 1)
        self.assertEqual(subject.hear(doorbell(rollout=13, step=1)), 1)
        self.assertEqual(subject.hear(doorbell(step=4), doorbell()), 0)

    def test_batches(self) -> None:
        """Each batch of a wave invites its own agents: an agent polls with the first batch that picks it."""
        subject = Subject()
        polls = [subject.hear(doorbell(cut=str(OWN + more))) for more in (-2, -1, 0, 1, 2)]
        self.assertEqual(polls, [0, 0, 1, 0, 0])

    def test_spread(self) -> None:
        """The spread is bounded, and a sooner poll wins."""
        subject = Subject()
        self.assertEqual(subject.hear(doorbell(spread_ms=2**53 - 1), seconds=MAX_SECONDS), 1)
        subject = Subject()
        self.assertEqual(subject.hear(doorbell(spread_ms=300_000), doorbell(step=4, spread_ms=0), seconds=400), 1)
        self.assertEqual(subject.polls, [0.25])

    def test_stop(self) -> None:
        subject = Subject()
        subject.listener.rung(doorbell())
        subject.listener.stop()
        subject.listener.stop()
        self.assertEqual((subject.clock.getDelayedCalls(), subject.polls), ([], []))

    @given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(-1, 1)), max_size=30))
    def test_promise(self, rung: list[tuple[int, int, int]]) -> None:
        """In any order and number, verified doorbells cause at most one poll for each step, and none when replayed."""
        subject, messages = Subject(), [doorbell(rollout=a, step=b, cut=str(OWN + c)) for a, b, c in rung]
        polls = sum(subject.hear(message, seconds=5) for message in messages)
        self.assertLessEqual(polls, len({(a, b) for a, b, c in rung if c >= 0}))
        self.assertEqual(sum(subject.hear(message, seconds=5) for message in messages), 0)
        if any(c >= 0 for *_, c in rung[:1]):
            self.assertGreater(polls, 0)


class HintTests(SynchronousTestCase):
    """Doorbells that cannot be verified."""

    def test_hints(self) -> None:
        """What no trusted key signed is a hint, and its poll comes at a random moment of the next second."""
        for message in (
            b"", b"no", b"{}", b"x" * (MAX_DOORBELL_BYTES + 1), b"x" * 10**6, doorbell(STRANGER),
            doorbell(STRANGER, cut="0"), doorbell()[:-1], doorbell().replace(b"canary", b"prod"),
        ):  # fmt: skip
            subject = Subject()
            self.assertEqual(subject.hear(message), 1, message[:80])
            self.assertLessEqual(subject.polls[0], HINT_SPREAD_SECONDS + 0.25)

    def test_keyless(self) -> None:
        """An agent without keys and without a configuration takes it as a hint."""
        subject = Subject()
        subject.keys = KeyRing()
        subject.listener = DoorbellListener(
            subject.clock, "default", KeyRing(), VersionGuard(lambda _: None), lambda: LABELS, Random(1), subject.poll
        )
        self.assertEqual(subject.hear(doorbell()), 1)

    def test_flood(self) -> None:
        """A flood of any kind costs few polls and few signatures; a doorbell in it is at least a hint."""
        subject = Subject()
        for _ in range(10):
            for number in range(1000):
                subject.listener.rung(doorbell(STRANGER) if number < 2 * MAX_PER_SECOND else b"x" * 100)
            subject.listener.rung(doorbell())
            subject.clock.advance(1)
        self.assertLessEqual(len(subject.polls), 11)
        self.assertGreaterEqual(len(subject.polls), 5)
        self.assertEqual(len(subject.clock.getDelayedCalls()) <= 1, True)
