"""Tests of L{confd.agent.cache}: a disk that fails delays nothing, and heals alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.agent.cache import RETRY_SECONDS, Cache
from confd.agent.cache_files import CacheContents, CacheFiles
from confd.errors import StartError
from confd.interfaces import IHealth
from tests.agent.fakes import AGENT_ID, configuration
from tests.odd_files import KINDS, unmake


class CacheTests(SynchronousTestCase):
    """L{Cache}, over a folder that comes and goes; a slow disk is one whose work is put off."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.files = CacheFiles(str(self.folder / "cache"), "default")
        self.clock = Clock()
        self.slow = False
        self.put_off: list[Callable[[], None]] = []
        self.writes = 0
        self.cache = Cache(self.clock, self.files, self.in_thread)
        self.cache.startService()

    def in_thread(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Run a function now, or after L{finish} if the disk is slow."""
        self.writes += 1
        if not self.slow:
            return maybeDeferred(function, *args)
        result: Deferred[Any] = Deferred()
        self.put_off.append(lambda: result.callback(function(*args)))
        return result

    def finish(self) -> None:
        """Finish the oldest call of the slow disk."""
        self.put_off.pop(0)()
        self.clock.advance(0)

    def test_interface(self) -> None:
        verifyObject(IHealth, self.cache)

    def test_a_configuration_is_written_at_once(self) -> None:
        self.cache.keep(configuration(1))
        self.cache.keep_id(AGENT_ID)
        self.assertEqual(self.files.load(), CacheContents(configuration(1), AGENT_ID))

    def test_the_same_configuration_is_not_written_again(self) -> None:
        self.files.save(configuration(1))
        kept = self.successResultOf(Deferred.fromCoroutine(self.cache.load()))
        self.assertEqual(kept.configuration, configuration(1))
        before = self.writes
        self.cache.keep(configuration(1))
        self.assertEqual(self.writes, before)

    def test_changed_keys_are_written_although_the_configuration_is_the_same(self) -> None:
        self.cache.keep_keys(("first",))
        self.assertEqual((self.writes, self.files.load()), (0, CacheContents()))
        self.cache.keep(configuration(1))
        self.assertEqual(self.files.load(), CacheContents(configuration(1), keys=("first",)))
        self.cache.keep_keys(("second", "first"))
        self.cache.keep_keys(("second", "first"))
        self.assertEqual((self.writes, self.files.load().keys), (2, ("second", "first")))
        self.successResultOf(Deferred.fromCoroutine(self.cache.load()))
        self.cache.keep(configuration(2))
        self.assertEqual(self.files.load(), CacheContents(configuration(2), keys=("second", "first")))

    def test_findings_are_logged(self) -> None:
        (self.folder / "cache").write_bytes(b"rubbish")
        with capturedLogs() as logs:
            self.successResultOf(Deferred.fromCoroutine(self.cache.load()))
        self.assertEqual(len(logs), 1)
        self.assertIn("is damaged and set aside as", logs[0]["finding"])

    def test_only_the_newest_pending_configuration_is_written(self) -> None:
        self.slow = True
        for version in range(1, 5):
            self.cache.keep(configuration(version))
        self.assertEqual(len(self.put_off), 1)
        self.finish()
        self.assertEqual(self.files.load().configuration, configuration(1))
        self.finish()
        self.assertEqual(self.files.load().configuration, configuration(4))
        self.assertEqual(self.put_off, [])

    # -- a disk that fails (F-09, F-14) --

    def test_an_unwritable_cache_is_a_problem_until_it_recovers(self) -> None:
        shutil.rmtree(self.folder)
        with capturedLogs() as logs:
            self.cache.keep(configuration(1))
            self.cache.keep_id(AGENT_ID)
            self.clock.pump([RETRY_SECONDS] * 5)
        self.assertEqual(len(logs), 1, "said once")
        self.assertEqual(
            self.cache.problem(),
            f"cache_unwritable: {self.folder}/cache cannot be written: No such file or directory.",
        )
        self.folder.mkdir()
        self.clock.advance(RETRY_SECONDS)
        self.assertIsNone(self.cache.problem())
        self.assertEqual(self.files.load(), CacheContents(configuration(1), AGENT_ID))

    def test_the_newest_is_written_after_the_recovery(self) -> None:
        shutil.rmtree(self.folder)
        self.cache.keep(configuration(1))
        self.cache.keep(configuration(2))
        self.folder.mkdir()
        self.clock.advance(RETRY_SECONDS)
        self.assertEqual(self.files.load().configuration, configuration(2))

    # -- stopping --

    def test_stop_waits_for_the_write_in_progress(self) -> None:
        self.slow = True
        self.cache.keep(configuration(1))
        stopping = self.cache.stopService()
        self.assertNoResult(stopping)
        self.finish()
        self.successResultOf(stopping)
        self.assertEqual(self.files.load().configuration, configuration(1))

    def test_stop_writes_what_is_pending(self) -> None:
        self.slow = True
        self.cache.keep(configuration(1))
        self.cache.keep(configuration(2))
        stopping = self.cache.stopService()
        self.finish()
        self.finish()
        self.successResultOf(stopping)
        self.assertEqual(self.files.load().configuration, configuration(2))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_ends_although_the_disk_fails(self) -> None:
        shutil.rmtree(self.folder)
        self.cache.keep(configuration(1))
        self.successResultOf(self.cache.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    # -- unusable folders and files --

    def test_a_missing_folder_is_refused(self) -> None:
        shutil.rmtree(self.folder)
        error = self.assertRaises(StartError, self.cache.claim)
        self.assertEqual(
            error.reasons, (f"CACHE_FILE: {self.folder} is not a folder; make it, or name a file in another one.",)
        )

    def test_a_folder_in_place_of_a_file_is_refused(self) -> None:
        (self.folder / "cache").mkdir()
        error = self.assertRaises(StartError, self.cache.claim)
        self.assertEqual(error.reasons, (f"CACHE_FILE: {self.folder}/cache is a folder; name a file.",))

    def test_other_kinds_of_files_are_refused(self) -> None:
        """The error is one sentence; the file stays."""
        for ending in ("", ".prev", ".id", ".token", ".lock", ".damaged", ".new", ".id.new"):
            for kind, make in KINDS.items():
                path = str(self.folder / f"cache{ending}")
                if not make(path):
                    continue
                before = os.lstat(path)
                error = self.assertRaises(StartError, self.cache.claim)
                self.assertEqual(len(error.reasons), 1)
                self.assertTrue(error.reasons[0].startswith(f"CACHE_FILE: {path} is {kind}; "), error.reasons)
                self.files.load()
                self.assertEqual(os.lstat(path), before)
                unmake(path)
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_file_that_is_replaced_by_another_kind_is_not_touched(self) -> None:
        """A FIFO takes the place of the cache while the agent runs."""
        self.cache.claim()
        os.mkfifo(self.files.path)
        self.assertRaises(OSError, self.files.save, configuration(1))
        self.assertEqual(self.files.load().configuration, None)
        self.assertTrue((self.folder / "cache").is_fifo())

    def test_a_bare_name_is_in_the_working_directory(self) -> None:
        cache = Cache(self.clock, CacheFiles("no-such-cache", "default"), self.in_thread)
        cache.claim()
        cache.release()

    def test_a_second_agent_is_refused(self) -> None:
        """The second agent requests and writes nothing; it may start after the first one has stopped."""
        other = Cache(self.clock, self.files, self.in_thread)
        self.cache.claim()
        for _ in range(2):
            error = self.assertRaises(StartError, other.claim)
            self.assertIn("is in use by another agent", error.reasons[0])
        self.cache.release()
        other.claim()
        self.assertRaises(StartError, self.cache.claim)
        other.release()
        Cache(self.clock, CacheFiles(str(self.folder / "other"), "default"), self.in_thread).claim()

    def test_an_agent_runs_without_a_lock_if_the_file_system_has_none(self) -> None:
        """An agent starts although the disk accepts no new file (promise G5)."""
        (self.folder / "elsewhere").touch()
        (self.folder / "cache.lock").symlink_to("elsewhere")
        with capturedLogs() as logs:
            self.cache.claim()
        self.assertEqual([each["log_level"].name for each in logs], ["warn"])
        self.cache.release()
