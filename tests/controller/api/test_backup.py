"""Tests of C{GET /api/v1/backup}: who gets the copy, at which speed, and what is left of it."""

from __future__ import annotations

import hashlib
import io
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.api.backup import CHECKSUM_HEADER, BackupApi
from confd.controller.store.sqlite.backup import Backup
from confd.errors import Unavailable
from confd.runtime.metrics import Metrics
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from confd.web.api.file_response import STALLED_MAX_SECONDS
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import ELSEWHERE, LOOPBACK, Conversation, serve
from tests.promlint import lint
from tests.runtime.test_metrics import samples
from tests.web import sample_api
from tests.web.sample_api import AUTH, RecordingAuditor

PATH = "/api/v1/backup"
METRIC = "confd_backup_timestamp_seconds"
BODY = bytes(range(256)) * 1024
CHECKSUM = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


class BackupTests(SynchronousTestCase):
    """
    A store that makes copies when the test says so.

    @ivar asked: the copies that were asked for.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(a_draft(poll_interval=30), seconds=self.clock.seconds)
        self.asked: list[Deferred[Backup]] = []
        self.auditor = RecordingAuditor()
        self.api = self.new_api()
        self.site = serve(self.clock, AUTH, self.api, auditor=self.auditor)

    def new_api(self) -> BackupApi:
        """Return an API as after a start."""
        api = BackupApi(self._copy, self.store, self.clock)
        self.successResultOf(Deferred.fromCoroutine(api.load_rows()))
        return api

    def shown(self, api: BackupApi | None = None) -> float | None:
        """Return what the metric shows, C{None} while it is absent."""
        metrics = Metrics()
        (api or self.api).expose(metrics)
        exposition = metrics.exposition()
        self.assertEqual(lint(exposition), [])
        return samples(exposition).get((METRIC, ()))

    def _copy(self) -> Deferred[Backup]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def ask(self, peer: Any = LOOPBACK, method: str = "GET", **headers: str) -> Conversation:
        """Ask for a backup."""
        caller = Conversation(self.site, self.clock, peer)
        caller.ask(
            method,
            PATH,
            auth=sample_api.ADMIN,
            headers={name.replace("_", "-"): text for name, text in headers.items()},
        )
        return caller

    def make(self) -> io.BytesIO:
        """Complete the oldest copy; return its file."""
        file = io.BytesIO(BODY)
        self.asked.pop(0).callback(Backup(file, len(BODY), CHECKSUM))
        return file

    def code(self, caller: Conversation) -> tuple[int, str]:
        """Return the status and the code of a refusal."""
        reply = caller.answer()
        assert reply is not None
        return reply.status, reply.code

    def test_sent_and_recorded(self) -> None:
        caller = self.ask()
        self.assertIsNone(caller.answer())
        file = self.make()
        reply = caller.answer()
        assert reply is not None
        self.assertEqual((reply.status, reply.body), (200, BODY))
        self.assertEqual(reply.headers[CHECKSUM_HEADER.lower()], CHECKSUM)
        self.assertTrue(file.closed)
        [entry] = self.successResultOf(self.store.audit(10, None))
        self.assertEqual((entry.action, entry.outcome), (f"GET {PATH}", "done"))
        self.assertIn(CHECKSUM, entry.detail)

    def test_metric_is_the_time_of_the_newest_backup_that_was_sent(self) -> None:
        self.assertIsNone(self.shown())
        self.ask(method="HEAD")
        self.make()
        self.assertIsNone(self.shown())
        self.assertIsNone(self.shown(self.new_api()))
        self.ask()
        self.make()
        self.assertEqual(self.shown(), self.auditor.now().timestamp())
        self.assertEqual(self.shown(self.new_api()), self.auditor.now().timestamp())

    def test_the_private_keys_are_not_sent_in_the_clear(self) -> None:
        """A caller from elsewhere, and a caller behind a proxy on this machine."""
        for caller in (
            self.ask(ELSEWHERE),
            self.ask(Forwarded="for=192.0.2.7"),
            self.ask(X_Forwarded_For="192.0.2.7"),
            self.ask(ELSEWHERE, X_Forwarded_Proto="https"),
        ):
            self.assertEqual(self.code(caller), (403, "needs_tls"))
        self.assertEqual(self.asked, [])
        self.assertEqual([error.code for _, error in self.auditor.audit_log], ["needs_tls"] * 4)

    def test_one_at_a_time(self) -> None:
        first, second = self.ask(), self.ask()
        self.assertEqual(self.code(second), (409, "backup_running"))
        self.make()
        self.assertIsNotNone(first.answer())
        self.assertIsNone(self.ask().answer())

    def test_a_failed_copy_frees_the_next(self) -> None:
        caller = self.ask()
        self.asked.pop().errback(Unavailable("storage_full", "Free some space."))
        self.assertEqual(self.code(caller), (503, "storage_full"))
        self.ask()
        self.assertEqual(len(self.asked), 1)

    def test_a_caller_that_hangs_up_during_the_copy(self) -> None:
        """The thread goes on, and no other copy begins before its end."""
        self.ask().hang_up()
        self.assertEqual(self.code(self.ask()), (409, "backup_running"))
        self.assertTrue(self.make().closed)
        self.ask()
        self.assertEqual(len(self.asked), 1)

    def test_a_slow_reader_is_cut_off(self) -> None:
        caller = self.ask()
        caller.wire.stall()
        file = self.make()
        self.assertLess(len(caller.wire.sent) + len(caller.wire.unsent), len(BODY))
        self.clock.advance(STALLED_MAX_SECONDS - 1)
        self.assertFalse(caller.closed)
        self.clock.pump([1, 0.1])
        self.assertTrue(caller.closed)
        self.assertTrue(file.closed)
        entries = self.successResultOf(self.store.audit(10, None))
        self.assertEqual([each.outcome for each in entries], ["cut_off", "done"])
        self.assertEqual((self.shown(), self.shown(self.new_api())), (None, None))
        self.ask()
        self.assertEqual(len(self.asked), 1)

    def test_a_reader_with_pauses_gets_all(self) -> None:
        caller = self.ask()
        caller.wire.stall()
        self.make()
        while caller.answer() is None:
            self.clock.advance(STALLED_MAX_SECONDS / 2)
            caller.wire.flow()
            caller.wire.stall()
        self.assertEqual(caller.replies()[0].body, BODY)

    def test_head(self) -> None:
        caller = self.ask(method="HEAD")
        file = self.make()
        reply = caller.answer()
        assert reply is not None
        self.assertEqual((reply.status, reply.headers["content-length"], reply.body), (200, str(len(BODY)), b""))
        self.assertTrue(file.closed)


class OtherStoreTests(SynchronousTestCase):
    """A controller without SQLite."""

    def test_names_the_reason(self) -> None:
        harness = ControllerHarness()
        reply = harness.caller().get(PATH, auth=ADMIN)
        self.assertEqual((reply.status, reply.code), (409, "not_sqlite"))
        self.assertEqual(harness.caller().get(PATH, auth=AGENT).status, 403)
