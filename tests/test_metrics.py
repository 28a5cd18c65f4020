"""Tests of L{confd.metrics}."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import confd
from confd.metrics import Metrics
from confd.web.guard import BasicGuard
from confd.web.ops import Figures
from tests.conversation import Conversation, serve


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of an exposition, by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


class MetricsTests(SynchronousTestCase):
    """L{Metrics}."""

    def setUp(self) -> None:
        self.metrics = Metrics()

    def test_build(self) -> None:
        self.assertEqual(
            samples(self.metrics.exposition()), {("confd_build_info", (("version", confd.__version__),)): 1}
        )

    def test_read_when_asked(self) -> None:
        """Not before: a part may know nothing until it has started."""
        readers: list[int] = []
        self.metrics.gauge("confd_readers", "Readers.", lambda: {(): len(readers)})
        self.metrics.counter("confd_doubts", "Doubts.", lambda: {("a",): 3, ("b",): 4}, "kind")
        readers.append(1)
        found = samples(self.metrics.exposition())
        self.assertEqual(found["confd_readers", ()], 1)
        self.assertEqual(found["confd_doubts_total", (("kind", "b"),)], 4)

    def test_hostile_label(self) -> None:
        """It cannot make a line of its own."""
        name = 'x"\n} confd_forged 1\\'
        self.metrics.gauge("confd_agents", "Agents.", lambda: {(name,): 1}, "namespace")
        found = samples(self.metrics.exposition())
        self.assertEqual(set(found) - {("confd_agents", (("namespace", name),))}, {next(iter(found))})

    def test_page(self) -> None:
        """For anyone, in the text format, whatever the query."""
        clock = Clock()
        reply = Conversation(serve(clock, BasicGuard(()), Figures(self.metrics)), clock).get("/metrics?x=1")
        self.assertEqual((reply.status, reply.headers["content-type"][:24]), (200, "text/plain; version=0.0."))
        self.assertEqual(reply.body, self.metrics.exposition())
