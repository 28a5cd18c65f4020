"""Tests of L{confd.local} against an agent that the tests control."""

from __future__ import annotations

import asyncio
import logging
import queue
import stat
import subprocess
import sys
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.local import Local, LocalConfig, LocalError, Refused, Unreachable
from tests.local_agent import FakeAgent

#: Seconds after which a wait is given up: many times what it takes, for machines that are busy.
PATIENCE_SECONDS = 60.0


class Warnings(logging.Handler):
    """Collects the log lines of L{confd.local}."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: queue.Queue[str] = queue.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.put(record.getMessage())


class LocalTestCase(SynchronousTestCase):
    """A test with an agent."""

    def setUp(self) -> None:
        self.agent = self.start()
        self.warnings = Warnings()
        logger = logging.getLogger("confd.local")
        logger.addHandler(self.warnings)
        self.addCleanup(logger.removeHandler, self.warnings)
        logger.propagate = False

    def start(self, path: str | None = None) -> FakeAgent:
        """Start an agent that ends with the test."""
        agent = FakeAgent(path)
        self.addCleanup(agent.close)
        return agent

    def watched(self, local: Local) -> queue.Queue[LocalConfig]:
        """Watch, and return the changes."""
        changes: queue.Queue[LocalConfig] = queue.Queue()
        self.addCleanup(local.watch(changes.put).stop)
        return changes


class GetTests(LocalTestCase):
    """L{Local.get}."""

    def test_it_returns_the_document_or_a_part(self) -> None:
        self.agent.apply("1", {"db": {"hosts": ["a", "b"]}, "rate": None})
        local = Local(self.agent.url)
        self.assertIsNone(local.tag)
        self.assertEqual(local.get(), {"db": {"hosts": ["a", "b"]}, "rate": None})
        self.assertEqual((local.get("/db/hosts/1"), local.get("/rate", 5), local.tag), ("b", None, "1"))

    def test_a_part_that_does_not_exist_is_the_default_or_an_error(self) -> None:
        self.agent.apply("1", {"a": 1})
        local = Local(self.agent.url)
        self.assertEqual(local.get("/b", 5), 5)
        error = self.assertRaises(LocalError, local.get, "/b")
        self.assertEqual(str(error), "Configuration 1 has nothing at '/b'.")

    def test_the_document_is_sent_once(self) -> None:
        self.agent.apply("1", {"a": 1})
        local = Local(self.agent.url)
        for _ in range(3):
            self.assertEqual(local.get("/a"), 1)
        self.agent.apply("2", {"a": 2})
        self.assertEqual(local.get("/a"), 2)
        self.assertEqual([known for known, _ in self.agent.asked], [None, '"1"', '"1"', '"1"'])

    def test_before_anything_is_applied(self) -> None:
        local = Local(self.agent.url)
        self.assertEqual(local.get("/a", "default"), "default")
        self.assertRaises(Unreachable, local.get, "/a")

    def test_without_an_agent_the_last_document_is_used(self) -> None:
        self.agent.apply("1", {"a": 1})
        local = Local(self.agent.url)
        local.get()
        for answer in ((404, "not_applied"), (503, "too_many_waiting"), (500, "internal_error")):
            self.agent.answer = answer
            self.assertEqual(local.get("/a"), 1)
        self.agent.close()
        self.assertEqual(local.get("/a"), 1)
        self.assertEqual(Local(self.agent.url).get("/a", 7), 7)
        self.assertRaises(Unreachable, Local(self.agent.url).get)

    def test_the_token_is_sent_and_a_wrong_one_is_an_error(self) -> None:
        self.agent.apply("1", {"a": 1})
        local = Local(self.agent.url, token="s3cret")
        local.get()
        self.assertEqual(self.agent.asked, [(None, "Bearer s3cret")])
        for status in (401, 403, 404, 302):
            self.agent.answer = status, "other"
            self.assertRaises(Refused, local.get, "/a", "default")

    def test_a_unix_socket_is_reached(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        agent = self.start(f"{folder}/s")
        agent.apply("1", {"a": 1})
        path = str((folder / "s").resolve())
        if len(path) > 100:
            path = f"/proc/self/cwd/{folder}/s"
        self.assertEqual(Local(f"unix:{path}").get("/a"), 1)

    def test_other_urls_are_refused(self) -> None:
        for url in ("127.0.0.1:8083", "ftp://a", "http://", "http://a/config", "unix:relative", ""):
            self.assertRaises(ValueError, Local, url)


class KeepTests(LocalTestCase):
    """The file with the last good copy."""

    def setUp(self) -> None:
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.path = folder / "kept.json"

    def test_it_outlives_the_program_and_the_agent(self) -> None:
        self.agent.apply("1", {"a": "ä"})
        Local(self.agent.url, keep=self.path).get()
        self.agent.close()
        local = Local(self.agent.url, keep=self.path)
        self.assertEqual((local.tag, local.get("/a")), ("1", "ä"))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual([each.name for each in self.path.parent.iterdir()], ["kept.json"])

    def test_a_kept_document_is_no_change(self) -> None:
        self.agent.apply("1", {})
        Local(self.agent.url, keep=self.path).get()
        changes = self.watched(Local(self.agent.url, keep=self.path))
        self.agent.apply("2", {})
        self.assertEqual(changes.get(timeout=PATIENCE_SECONDS).tag, "2")

    def test_a_damaged_file_is_ignored(self) -> None:
        self.agent.apply("1", {"a": 1})
        for text in (
            "",
            "{",
            "[]",
            "{}",
            '{"tag": "1"}',
            '{"tag": 1, "document": {}}',
            '{"tag": "1\\n", "document": {}}',
            "[" * 100_000,
            "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
        ):
            self.path.write_text(text)
            self.assertIsNone(Local(self.agent.url, keep=self.path).tag)
            self.assertIn("keeps no configuration", self.warnings.lines.get(timeout=PATIENCE_SECONDS))
        self.assertEqual(Local(self.agent.url, keep=self.path).get("/a"), 1)
        self.assertEqual(Local(self.agent.url, keep=self.path).tag, "1")

    def test_a_file_that_cannot_be_written_is_only_logged(self) -> None:
        self.agent.apply("1", {"a": 1})
        local = Local(self.agent.url, keep=self.path.parent / "missing" / "kept.json")
        self.assertEqual(local.get("/a"), 1)
        self.assertIn("cannot keep configuration 1", self.warnings.lines.get(timeout=PATIENCE_SECONDS))


class WatchTests(LocalTestCase):
    """L{Local.watch} and L{Local.changes}."""

    def test_each_change_is_sent_once(self) -> None:
        changes = self.watched(Local(self.agent.url))
        for number in range(1, 4):
            self.agent.apply(str(number), {"n": number})
            self.assertEqual(changes.get(timeout=PATIENCE_SECONDS), LocalConfig(str(number), {"n": number}))
        self.assertTrue(changes.empty())

    def test_what_get_returned_is_no_change(self) -> None:
        self.agent.apply("1", {})
        local = Local(self.agent.url)
        local.get()
        changes = self.watched(local)
        self.agent.apply("2", {})
        self.assertEqual(changes.get(timeout=PATIENCE_SECONDS).tag, "2")

    def test_a_watch_keeps_get_current_without_requests(self) -> None:
        self.agent.apply("1", {"n": 1})
        local = Local(self.agent.url)
        changes = self.watched(local)
        changes.get(timeout=PATIENCE_SECONDS)
        self.agent.apply("2", {"n": 2})
        changes.get(timeout=PATIENCE_SECONDS)
        self.agent.close()
        self.assertEqual(local.get("/n"), 2)

    def test_a_callback_that_fails_is_logged_and_the_next_change_is_sent(self) -> None:
        heard: queue.Queue[str] = queue.Queue()

        def fail(change: LocalConfig) -> None:
            heard.put(change.tag)
            raise KeyError(change.tag)

        self.addCleanup(Local(self.agent.url).watch(fail).stop)
        for tag in ("1", "2"):
            self.agent.apply(tag, {})
            self.assertEqual(heard.get(timeout=PATIENCE_SECONDS), tag)
        lines = [self.warnings.lines.get(timeout=PATIENCE_SECONDS) for _ in range(2)]
        self.assertIn("the callback for configuration 1 failed", " ".join(lines))

    def test_a_problem_is_logged_once(self) -> None:
        changes = self.watched(Local(self.agent.url))
        for _ in range(3):
            self.agent.arrivals.get(timeout=PATIENCE_SECONDS)
        self.agent.apply("1", {})
        changes.get(timeout=PATIENCE_SECONDS)
        self.assertEqual(self.warnings.lines.qsize(), 1)

    def test_a_stopped_watch_ends_its_thread(self) -> None:
        self.agent.apply("1", {})
        local = Local(self.agent.url)
        threads: queue.Queue[threading.Thread] = queue.Queue()
        watch = local.watch(lambda change: threads.put(threading.current_thread()))
        thread = threads.get(timeout=PATIENCE_SECONDS)
        watch.stop()
        thread.join(PATIENCE_SECONDS)
        self.assertFalse(thread.is_alive())
        self.agent.apply("2", {"n": 2})
        self.assertEqual(local.get("/n"), 2)
        self.assertTrue(threads.empty())

    def test_an_iterator_yields_the_changes_and_ends_its_watch(self) -> None:
        self.agent.apply("1", {"n": 1})

        async def read() -> list[str]:
            tags = []
            iterator = Local(self.agent.url).changes()
            async for change in iterator:
                tags.append(change.tag)
                if change.tag == "2":
                    break
                self.agent.apply("2", {})
            await iterator.aclose()  # type: ignore[attr-defined]
            return tags

        self.assertEqual(asyncio.run(read()), ["1", "2"])


class ImportTests(SynchronousTestCase):
    """What a program that uses L{confd.local} loads."""

    def test_only_the_standard_library_is_imported(self) -> None:
        code = "import sys; before = set(sys.modules); import confd.local; print(*(set(sys.modules) - before))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        roots = {each.partition(".")[0] for each in done.stdout.split()}
        self.assertIn("confd", roots)
        self.assertEqual(roots - set(sys.stdlib_module_names), {"confd"})
