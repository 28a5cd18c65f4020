"""Tests of L{confd.runtime.metrics}."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import confd
from confd.runtime.histogram import Histogram
from confd.runtime.metrics import MAX_PART_SERIES, Metrics
from confd.web.auth.basic import BasicAuth
from confd.web.health import MAX_AGE_SECONDS, SLICE_SECONDS, MetricsEndpoint
from tests.conversation import Conversation, Reply, serve


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

    def own(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """The samples, but for those that every process has."""
        every = samples(Metrics().exposition())
        return {key: value for key, value in samples(self.metrics.exposition()).items() if key not in every}

    def test_every_process_exposes_its_release_and_resources(self) -> None:
        found = samples(self.metrics.exposition())
        self.assertEqual(found["confd_build_info", (("version", confd.__version__),)], 1)
        for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"):
            self.assertGreater(found[f"process_{name}", ()], 0, name)

    def test_each_bucket_counts_values_up_to_its_bound(self) -> None:
        sizes = Histogram((0.1, 1.0))
        self.metrics.histogram("confd_sizes_seconds", "Sizes.", sizes, "kind")
        self.assertEqual(self.own(), {})
        for value in (0.05, 0.1, 0.5, 1.0, 7.0):
            sizes.observe(value, "a")
        labels = ("kind", "a")
        name = "confd_sizes_seconds"
        self.assertEqual(
            self.own(),
            {
                (f"{name}_bucket", (labels, ("le", "0.1"))): 2,
                (f"{name}_bucket", (labels, ("le", "1.0"))): 4,
                (f"{name}_bucket", (labels, ("le", "+Inf"))): 5,
                (f"{name}_count", (labels,)): 5,
                (f"{name}_sum", (labels,)): 8.65,
            },
        )

    def test_a_histogram_without_labels_is_exposed_before_a_value(self) -> None:
        self.metrics.histogram("confd_sizes_seconds", "Sizes.", Histogram((1.0,)))
        self.assertEqual(self.own()["confd_sizes_seconds_count", ()], 0)

    def test_values_are_read_at_the_scrape(self) -> None:
        readers: list[int] = []
        self.metrics.gauge("confd_readers", "Readers.", lambda: {(): len(readers)})
        self.metrics.counter("confd_doubts", "Doubts.", lambda: {("a",): 3, ("b",): 4}, "kind")
        readers.append(1)
        found = samples(self.metrics.exposition())
        self.assertEqual(found["confd_readers", ()], 1)
        self.assertEqual(found["confd_doubts_total", (("kind", "b"),)], 4)

    def test_a_hostile_label_value_cannot_forge_a_line(self) -> None:
        name = 'x"\n} confd_forged 1\\'
        self.metrics.gauge("confd_agents", "Agents.", lambda: {(name,): 1}, "namespace")
        self.assertEqual(self.own(), {("confd_agents", (("namespace", name),)): 1})

    def test_the_page_needs_no_credentials(self) -> None:
        clock = Clock()
        reply = Conversation(serve(clock, BasicAuth(()), MetricsEndpoint(self.metrics, clock)), clock).get(
            "/metrics?x=1"
        )
        self.assertEqual((reply.status, reply.headers["content-type"][:24]), (200, "text/plain; version=0.0."))
        self.assertIn(b"confd_build_info", reply.body)


class RenderingTests(SynchronousTestCase):
    """How C{/metrics} is rendered for many."""

    def setUp(self) -> None:
        self.renderings, self.labels, self.joined = 0, 0, 0
        self.metrics = Metrics()
        self.metrics.gauge("confd_many", "Many.", self.read, "namespace")
        self.clock = Clock()
        self.factory = serve(self.clock, BasicAuth(()), MetricsEndpoint(self.metrics, self.clock))

    def read(self) -> dict[str, float]:
        """Count the renderings."""
        self.renderings += 1
        return {f"n{number}": number for number in range(self.labels)}

    def ask(self) -> Conversation:
        """Ask for the figures."""
        asker = Conversation(self.factory, self.clock)
        asker.ask("GET", "/metrics")
        return asker

    def get(self) -> Reply:
        """Ask, and return what is answered at once."""
        return Conversation(self.factory, self.clock).get("/metrics")

    def test_scrapes_within_a_second_share_one_rendering(self) -> None:
        first = self.get().body
        self.assertEqual((self.get().body, self.renderings), (first, 1))
        self.clock.advance(MAX_AGE_SECONDS)
        self.get()
        self.assertEqual(self.renderings, 2)

    def test_many_series_are_rendered_in_small_parts_of_one_family(self) -> None:
        self.labels = 10 * MAX_PART_SERIES + 1
        histogram = Histogram(expected=lambda: [(f"n{number}",) for number in range(self.labels)])
        self.metrics.histogram("confd_sizes", "Sizes.", histogram, "namespace")
        text = b"".join(self.metrics.parts())
        self.assertEqual((text.count(b"# TYPE confd_many "), text.count(b"\nconfd_many{")), (1, self.labels))
        self.assertEqual(len(samples(text)), text.count(b"\n") - text.count(b"# "))
        self.assertEqual(text.count(b"confd_sizes_count{"), self.labels)
        longest = max(part.count(b"\n") for part in self.metrics.parts())
        self.assertLessEqual(longest, 2 + MAX_PART_SERIES * 20)

    def test_other_requests_are_served_between_the_parts(self) -> None:
        between: list[Conversation] = []

        def slow() -> dict[tuple[()], float]:
            """Take longer than a slice; somebody else asks in the next turn."""
            self.clock.callLater(0, join)
            self.clock.rightNow += 2 * SLICE_SECONDS
            return {(): self.joined}

        def join() -> None:
            self.joined += 1
            between.append(self.ask())

        for number in range(3):
            self.metrics.gauge(f"confd_slow_{number}", "Slow.", slow)
        first = samples(self.get().body)
        self.assertEqual([first[f"confd_slow_{number}", ()] for number in range(3)], [0, 1, 2])
        answers = [asker.answer() for asker in between]
        self.assertEqual([answer is not None and samples(answer.body) for answer in answers], [first] * 3)
        self.assertEqual(self.renderings, 1)

    def test_a_failed_rendering_fails_its_scrapes_and_the_next_begins_again(self) -> None:
        self.metrics.gauge("confd_broken", "Broken.", lambda: {"a": 1 // self.labels}, "namespace")
        self.assertEqual(self.get().status, 500)
        self.flushLoggedErrors(ZeroDivisionError)
        self.labels = 1
        self.assertEqual(self.get().status, 200)
