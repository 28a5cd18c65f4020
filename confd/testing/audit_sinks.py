"""A sink of audit entries in memory, and the contract suite of sinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from confd.audit import BEGINNING, AuditEntry, AuditOutcome
from confd.errors import Unavailable
from confd.interfaces.audit_sinks import IAuditSink
from confd.testing.examples import an_attempt


@implementer(IAuditSink)
class MemoryAuditSink(Service):
    """
    A sink in memory.

    @ivar entries: what was written, repeats included.
    @ivar fate: of the next writes: C{lost}, C{taken} without an answer, or empty for an answer.
    @ivar reads: calls of L{newest} so far.
    """

    name = "LIST"

    def __init__(self, entries: list[AuditEntry] | None = None) -> None:
        """
        @param entries: of the place, shared with other sinks.
        """
        self.entries = [] if entries is None else entries
        self.fate = ""
        self.reads = 0

    def problem(self) -> str | None:
        return None

    def newest(self) -> Deferred[AuditEntry | None]:
        self.reads += 1
        return succeed(self.entries[-1] if self.entries else None)

    def write(self, entries: Sequence[AuditEntry]) -> Deferred[None]:
        if self.fate != "lost":
            self.entries += entries
        return fail(Unavailable("down", f"LIST: {self.fate}.")) if self.fate else succeed(None)


@frozen
class AuditPlace:
    """
    A place that keeps audit entries, empty at first.

    @ivar sink: makes a sink of the place, not started.
    @ivar entries: returns all entries that the place has, or a L{Deferred} of them.
    """

    sink: Callable[[], IAuditSink]
    entries: Callable[[], object]


#: Makes the place of a test, and cleans up after it.
AuditPlaceFixture = Callable[[TestCase], AuditPlace]


def a_chain(count: int, after: AuditEntry | None = None, text: str = "") -> list[AuditEntry]:
    """
    Return entries that follow another one.

    @param text: detail of each.
    """
    chain: list[AuditEntry] = [] if after is None else [after]
    for number in range(count):
        last, previous = (chain[-1].number, chain[-1].hash) if chain else (0, BEGINNING)
        outcome = AuditOutcome(an_attempt(number), detail=text)
        chain.append(AuditEntry.following(last, previous, "2026-11-24T12:30:15.123Z", outcome))
    return chain if after is None else chain[1:]


def make_iauditsink_tests(fixture: AuditPlaceFixture) -> type[TestCase]:
    """Make the contract suite of L{IAuditSink} for sinks of places of C{fixture}."""

    class IAuditSinkTests(TestCase):
        timeout = 60

        def setUp(self) -> None:
            self.place = fixture(self)

        def started(self) -> IAuditSink:
            """Return a sink that runs until the end of the test."""
            sink = self.place.sink()
            sink.startService()
            self.addCleanup(sink.stopService)
            return sink

        async def assert_holds(self, expected: Sequence[AuditEntry]) -> None:
            self.assertEqual(list(await maybeDeferred(self.place.entries)), list(expected))  # type: ignore[call-overload]

        def test_interface(self) -> None:
            sink = self.place.sink()
            verifyObject(IAuditSink, sink)
            self.assertRegex(sink.name, "^[A-Z_]+$")

        async def test_empty_place_has_no_newest_entry(self) -> None:
            self.assertIsNone(await self.started().newest())

        async def test_entries_are_there_in_order_once_the_write_has_fired(self) -> None:
            sink, entries = self.started(), a_chain(9)
            for begin, end in ((0, 1), (1, 4), (4, 9)):
                await sink.write(entries[begin:end])
                await self.assert_holds(entries[:end])
                self.assertEqual(await sink.newest(), entries[end - 1])

        async def test_next_process_goes_on(self) -> None:
            entries = a_chain(5)
            await self.started().write(entries[:3])
            other = self.started()
            self.assertEqual(await other.newest(), entries[2])
            await other.write(entries[3:])
            await self.assert_holds(entries)

        async def test_repeats_are_kept(self) -> None:
            sink, entries = self.started(), a_chain(2)
            await sink.write(entries)
            await sink.write(entries)
            await self.assert_holds(entries * 2)
            self.assertEqual(await sink.newest(), entries[-1])

        async def test_any_text_and_a_large_batch(self) -> None:
            sink = self.started()
            entries = a_chain(500, text='ü😀\ufffd\u2028"\\\x7f\r\n\t' + "x" * 200)
            await sink.write(entries)
            await self.assert_holds(entries)
            self.assertEqual(await sink.newest(), entries[-1])

    return IAuditSinkTests
