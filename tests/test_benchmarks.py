"""
The benchmarks run: a small fan-out of each strategy and a small proof through real processes, and the arithmetic of the
figures.

Nothing here looks at how long anything takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from benchmarks import (
    controllers,
    growth,
    hits,
    million,
    outputs,
    polls,
    recovery,
    registrations,
    rollouts,
    simulation,
    watchdog,
)
from benchmarks.dialects import Dialect, Kind, Message, Nats, Poller, Redis, Stream
from benchmarks.etcd_dialect import Etcd
from benchmarks.fanout import measure
from benchmarks.figures import Figures, Sample, quantile, summary, table
from benchmarks.findings import TINY, Bar, Finding, page, save
from benchmarks.load import Target, at_a_rate
from benchmarks.plots import Chart, svg
from benchmarks.proof import pages, prove
from confd.codec import sse
from tests.budgets import budget
from tests.controller.store.postgres.server import why_missing as postgres_missing
from tests.integration.fleet import ADMIN, request
from tests.integration.kafka import why_not
from tests.integration.servers import missing

AGENTS = 20


class FanoutTests(SynchronousTestCase):
    """L{measure}: every agent of each strategy gets every version."""

    def _measure(self, strategy: str) -> Figures:
        figures = measure(strategy, AGENTS, rounds=2, interval=0.05)
        self.assertEqual((figures.missed, figures.raw_missed), (0, 0))
        return figures

    def test_stream(self) -> None:
        self.assertIsNone(self._measure("STREAM").ratio)

    def test_poller(self) -> None:
        self.assertIsNone(self._measure("POLLER").ratio)

    def test_redis(self) -> None:
        self.assertIsNotNone(self._measure("REDIS").ratio)

    def test_nats(self) -> None:
        self.assertIsNotNone(self._measure("NATS").ratio)

    def test_kafka(self) -> None:
        self.assertIsNotNone(self._measure("KAFKA").ratio)

    def test_etcd(self) -> None:
        self.assertIsNone(self._measure("ETCD").ratio)

    test_kafka.skip = budget("a real server: CONFD_TEST_BUDGET=full", None) or why_not()  # type: ignore[attr-defined]

    test_etcd.skip = missing("etcd")  # type: ignore[attr-defined]
    test_redis.skip = missing("redis-server")  # type: ignore[attr-defined]
    test_nats.skip = missing("nats-server")  # type: ignore[attr-defined]


class ProofTests(SynchronousTestCase):
    """L{prove} and L{pages}: every agent is proven, and every page is there."""

    def test_proof(self) -> None:
        proof = prove(10, rounds=1, flood_seconds=0.2)
        self.assertEqual((proof.agents, proof.missed, proof.refused), (10, 0, 0))
        self.assertGreater(proof.reports, 0)

    def test_pages(self) -> None:
        asked = [page.path for page in pages(20, 50, requests=2)]
        self.assertEqual(len(set(asked)), len(asked))
        self.assertIn("/config/convergence (no agent has it)", asked)


class QuestionTests(SynchronousTestCase):
    """Each question is answered, without an error; a program that is not installed is named."""

    def setUp(self) -> None:
        stack = ExitStack()
        stack.enter_context(redirect_stderr(StringIO()))
        self.addCleanup(stack.close)

    def _whole(self, finding: Finding) -> None:
        text = finding.text()
        for row in finding.table:
            self.assertEqual((row.get("errors", 0), row.get("missed", 0)), (0, 0), text)
        for peer in finding.missing:
            self.assertIn(f"missing: {peer}", text)

    def test_polls(self) -> None:
        found = polls.measure(TINY)
        self._whole(found)
        self.assertEqual(
            sorted({str(row["who"]) for row in found.table} | set(found.missing)),
            ["confd", polls.TOKENS, polls.LENGTH, "etcd", "nginx"],
        )

    def test_registrations(self) -> None:
        self._whole(registrations.measure(TINY))

    def test_hits(self) -> None:
        self._whole(hits.measure(TINY))

    test_hits.skip = missing("nginx")  # type: ignore[attr-defined]

    def test_outputs(self) -> None:
        self._whole(outputs.measure(TINY))

    def test_recovery(self) -> None:
        self._whole(recovery.measure(TINY))

    def test_growth(self) -> None:
        with growth.grown(growth.Size(5, 3, 4)) as (fleet, start):
            self.assertLessEqual(start.answered, start.loaded)
            self.assertEqual(fleet.current()["version"], 3)
            names = request("GET", f"{fleet.url}/api/v1/namespaces", auth=ADMIN).json()
            self.assertEqual(len(names), 4)
            for look in growth.LOOKS.values():
                self.assertGreaterEqual(look(fleet, TINY), 0)

    def test_controllers(self) -> None:
        self._whole(controllers.measure(TINY))

    def test_million(self) -> None:
        self._whole(million.measure(TINY))

    def test_simulation(self) -> None:
        found = simulation.measure(TINY, 10)
        self._whole(found)
        counts = {each["figure"]: each["value"] for each in found.table if each["figure"].startswith("agents ")}
        self.assertEqual((len(counts), set(counts.values())), (3, {0}), found.text())

    test_controllers.skip = budget("a real server: CONFD_TEST_BUDGET=full", None) or postgres_missing()  # type: ignore[attr-defined]
    test_simulation.skip = test_controllers.skip  # type: ignore[attr-defined]
    test_million.skip = test_controllers.skip  # type: ignore[attr-defined]

    def test_own_load(self) -> None:
        """Where there is no wrk."""
        with polls.confd() as target:
            rate = at_a_rate(target, 50, 4, 0.2)
            self.assertEqual((rate.wrong, round(rate.second * 0.2)), (0, 10))
            wrong = Target(target.url, target.pid)
            self.assertEqual(at_a_rate(wrong, 50, 4, 0.2).wrong, 10)


class FindingTests(SynchronousTestCase):
    """What is written of what was found."""

    def test_bars(self) -> None:
        met = [Bar("a", 1, 1).met, Bar("a", 1, 1, least=False).met, Bar("a", 2, 1, least=False).met]
        self.assertEqual(met, [True, True, False])
        for least in (True, False):
            self.assertFalse(Bar("a", float("nan"), 1, least).met, "what was not measured is not met")

    def test_saved(self) -> None:
        found = Finding("x", "Is it?", [{"who": "confd", "ms": 1.5}], [Bar("b", 1, 2)], [Chart("<", [("a&b", 3.0)])])
        folder = Path(self.mktemp())
        save(found, TINY, folder)
        record = json.loads((folder / "x.json").read_text())
        self.assertEqual((record["table"], record["bars"][0]["met"]), ([{"who": "confd", "ms": 1.5}], False))
        self.assertIn("MISSED", (folder / "index.rst").read_text())
        self.assertIn("x.svg", page([record]))

    @given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cc", "Cs"])), st.floats(0, 1e9)), max_size=5))
    def test_plots(self, bars: list[tuple[str, float]]) -> None:
        """Plots are well-formed, whatever is in them."""
        ElementTree.fromstring(svg([Chart("t", bars)] * 2))

    def test_halved(self) -> None:
        usual = {"polls": 2.0, "publishes": 0.4}
        self.assertEqual(watchdog.halved({"polls": 1.0, "publishes": 9.0}, usual), [])
        self.assertEqual(len(watchdog.halved({"polls": 0.99, "publishes": 0.1}, usual)), 2)


class FiguresTests(SynchronousTestCase):
    """L{summary} and L{table}."""

    def test_summary(self) -> None:
        ours = [Sample(0.002, [0.001, 0.002, 0.004], 0.003), Sample(0.004, [0.001, 0.002]), Sample(0.006, [0.006] * 3)]
        raw = [Sample(0.0, [0.001] * 3), None, Sample(0.0, [0.003] * 2)]
        found = summary("REDIS", 3, list(zip(ours, raw, strict=True)), 1.5)
        self.assertEqual((found.missed, found.raw_missed, found.kilobytes), (1, 1, 1.5))
        got = (found.post, found.p50, found.p99, found.last, found.worst, found.whole, found.raw_last, found.health)
        for figure, expected in zip(got, (4, 2, 6, 4, 6, 6, 2, 3), strict=True):
            self.assertAlmostEqual(figure or 0.0, expected)
        self.assertAlmostEqual(found.ratio or 0.0, 2)
        self.assertAlmostEqual(found.whole_ratio or 0.0, 3)

    def test_nobody_got_it(self) -> None:
        found = summary("STREAM", 3, [(Sample(0.002, []), None)], 0.0)
        self.assertEqual((found.missed, found.ratio), (3, None))
        self.assertIn("nan", table([found]))

    def test_quantile(self) -> None:
        values = list(range(1, 101))
        self.assertEqual([quantile(values, part) for part in (0.0, 0.5, 0.99, 1.0)], [1, 50, 99, 100])

    def test_table(self) -> None:
        head, row = table([summary("NATS", 2, [(Sample(0.001, [0.1]), None)], 2.0)]).splitlines()
        self.assertEqual(len(head), len(row))
        self.assertEqual(dict(zip(head.split(), row.split(), strict=False))["agents"], "2")


def _chunked(*pieces: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def _resp(*parts: bytes) -> bytes:
    return b"*3\r\n" + b"".join(part if part[:1] == b":" else b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _frame(kind: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """Return a frame of HTTP/2; a watcher has one stream, and ignores its number."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, 0]) + payload


#: What a server sends, and what an agent must make of it.
CONVERSATIONS: list[tuple[Callable[[], Dialect], bytes, list[Message]]] = [
    (
        Redis,
        _resp(b"subscribe", b"config:global", b":1\r\n")
        + _resp(b"subscribe", b"raw", b":2\r\n")
        + _resp(b"message", b"config:global", b"a\r\nb")
        + _resp(b"message", b"raw", b"*3"),
        [Message(Kind.READY), Message(Kind.PUSHED, b"a\r\nb"), Message(Kind.RAW, b"*3")],
    ),
    (
        Nats,
        b"INFO {}\r\nPONG\r\nMSG config.worker.update 1 5\r\nPING\n\r\nPING\r\nMSG raw 2 _INBOX.1 4\r\n\r\n\r\n\r\n",
        [
            Message(Kind.READY),
            Message(Kind.PUSHED, b"PING\n"),
            Message(Kind.PING, reply=b"PONG\r\n"),
            Message(Kind.RAW, b"\r\n\r\n"),
        ],
    ),
    (
        Stream,
        _chunked(sse.COMMENT, sse.frame("config", b"{1}", "a.1.1")[:9], sse.frame("config", b"{1}", "a.1.1")[9:])
        + _chunked(sse.frame("heartbeat", b"a.1.1"), sse.frame("config", b"{2}", "a.1.2") * 2).partition(b"\r\n\r\n")[
            2
        ],
        [Message(Kind.PUSHED, b"{1}"), Message(Kind.PUSHED, b"{2}"), Message(Kind.PUSHED, b"{2}")],
    ),
    (
        Etcd,
        _frame(4, b"\0\3\0\0\0\x64")
        + _frame(4, flags=1)
        + _frame(1, b"\x88")
        + _frame(0, b"\0\0\0\0\4\x0a\0\x18\1\0\0")
        + _frame(6, b"12345678")
        + _frame(0, b"\0\0\x0f\x5a\x0d\x12\x0b\x0a\6config\x2a")
        + _frame(0, b"\1a"),
        [
            Message(Kind.PING, reply=_frame(4, flags=1)),
            Message(Kind.READY),
            Message(Kind.PING, reply=_frame(6, b"12345678", 1)),
            Message(Kind.PUSHED, b"a"),
        ],
    ),
]

POLLS = [
    (b"HTTP/1.1 200 OK\r\nETag: x\r\nContent-Length: 5\r\n\r\n{1}\r\n", Message(Kind.PUSHED, b"{1}\r\n")),
    (b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', Message(Kind.SAME)),
    (b"HTTP/1.1 503 Unavailable\r\ncontent-length: 2\r\n\r\n{}", Message(Kind.SAME)),
]


class DialectTests(SynchronousTestCase):
    """L{Dialect.split}: the same messages, however the bytes are cut."""

    def _hold(self, dialect: Dialect, sent: bytes, expected: list[Message], cuts: list[int]) -> None:
        got: list[Message] = []
        rest, at = b"", 0
        for cut in [*sorted(min(each, len(sent)) for each in cuts), len(sent)]:
            messages, rest = dialect.split(rest + sent[at:cut])
            got += messages
            at = cut
        self.assertEqual((got, rest), (expected, b""))

    @given(st.sampled_from(CONVERSATIONS), st.lists(st.integers(1, 400), max_size=6))
    def test_any_cut(self, conversation: tuple[Callable[[], Dialect], bytes, list[Message]], cuts: list[int]) -> None:
        make, sent, expected = conversation
        self._hold(make(), sent, expected, cuts)

    @given(st.sampled_from(POLLS), st.lists(st.integers(1, 90), max_size=4))
    def test_polls(self, poll: tuple[bytes, Message], cuts: list[int]) -> None:
        """One answer at a time: an agent asks again only then."""
        sent, expected = poll
        self._hold(Poller(), sent, [expected], cuts)


class RolloutTests(TestCase):
    """L{rollouts.run}: all waves of a small fleet."""

    timeout = 120

    async def test_all_waves(self) -> None:
        found = await rollouts.run(reactor, 10, 2)
        self.assertEqual(set(found), {"deciding", "whole", "turn", "turn, processor"})
        self.assertGreater(rollouts.ranks(10), 0)
