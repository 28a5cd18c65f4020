"""Tests of L{confd.worker.metrics}, with real fetches."""

from __future__ import annotations

from datetime import UTC, datetime

from confd.codec import strict_json
from confd.worker.metrics import worker_metrics
from tests.promlint import lint
from tests.runtime.test_metrics import samples
from tests.worker.harness import HELD_SECONDS, OK, WorkerHarness, WorkerTestCase, answer, turn


def shown(worker: WorkerHarness) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the metrics of a worker, by name and labels."""
    return samples(worker_metrics(worker.current, worker.upstream).exposition())


class MetricsTests(WorkerTestCase):
    """The metrics of a worker."""

    def results(self, worker: WorkerHarness) -> dict[str, float]:
        """Return the counted results, without the zeros."""
        found = {
            dict(labels)["result"]: value
            for (name, labels), value in shown(worker).items()
            if name == "confd_hits_total"
        }
        return {result: value for result, value in found.items() if value}

    async def test_fetches_are_counted_by_status_class_or_error_code_with_their_time(self) -> None:
        worker = self.worker(timeout=HELD_SECONDS, max_bytes=100)
        for raw in (
            OK + b"Content-Length: 0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 599 Whatever\r\nContent-Length: 0\r\n\r\n",
            OK + b"Content-Length: 101\r\n\r\n",
        ):
            url, _ = self.upstream(answer(raw))
            await worker.hit(url)
        url, upstream = self.upstream(answer(b""))
        await self.end_in_vain(worker.call(url), lambda _: upstream.asked)
        await worker.hit("http://169.254.169.254/")
        results = self.results(worker)
        self.assertEqual(len(results), 6)
        for result in ("2xx", "4xx", "5xx", "upstream_too_large", "upstream_timeout"):
            self.assertEqual(results[result], 1, result)
        self.assertEqual(shown(worker)["confd_hit_duration_seconds_count", ()], 6)
        self.assertGreater(shown(worker)["confd_hit_duration_seconds_sum", ()], 0)

    async def test_refused_and_abandoned_fetches_are_counted(self) -> None:
        worker = self.worker(max_in_flight=1)
        url, upstream = self.upstream(answer(b""))
        first = worker.call(url)
        while not upstream.asked:
            await turn()
        self.assertEqual(shown(worker)["confd_hits_in_flight", ()], 1)
        await worker.hit(url)
        first.ended.addErrback(lambda _: None)
        first.transport.abortConnection()
        while worker.upstream.in_flight:
            await turn()
        self.assertEqual(self.results(worker), {"too_many_hits": 1, "hung_up": 1})

    async def test_version_and_time_appear_with_the_first_configuration_and_refusals_do_not_count(self) -> None:
        worker = self.worker()
        self.assertNotIn(("confd_worker_config_version", ()), shown(worker))
        for tag in ("1a2b3c4d.1.4", "1a2b3c4d.1.5", "1a2b3c4d.1.5"):
            document = {"url": f"http://{tag}/"}
            worker.current.put(document, strict_json.document(document), tag)
        found = shown(worker)
        self.assertEqual(found["confd_worker_config_version", ()], 5)
        self.assertEqual(found["confd_worker_configs_applied_total", ()], 2)
        at = found["confd_worker_config_applied_timestamp_seconds", ()]
        self.assertLess(abs(at - datetime.now(UTC).timestamp()), 3600)
        self.assertEqual(lint(worker_metrics(worker.current, worker.upstream).exposition()), [])
