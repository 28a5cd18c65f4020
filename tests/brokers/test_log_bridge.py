"""Tests of L{confd.brokers.log_bridge}."""

from __future__ import annotations

import logging

from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from confd.brokers.log_bridge import StandardLogs


class StandardLogsTests(SynchronousTestCase):
    """L{StandardLogs}."""

    def setUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.logs = StandardLogs(["confd.test.library"])
        self.logs.install()
        self.addCleanup(self.logs.remove)
        self.logger = logging.getLogger("confd.test.library.part")

    def test_records_keep_their_level_and_text(self) -> None:
        self.logger.warning("%d {braces}", 1)
        self.logger.error("two")
        self.logger.critical("three")
        logged = [(event["log_level"], event["log_namespace"], formatEvent(event)) for event in self.events]
        levels = zip((LogLevel.warn, LogLevel.error, LogLevel.critical), ("1 {braces}", "two", "three"), strict=True)
        self.assertEqual(logged, [(level, "confd.test.library.part", text) for level, text in levels])

    def test_levels_between_the_known_ones_are_rounded_down(self) -> None:
        self.logger.log(35, "between")
        self.assertEqual(self.events[0]["log_level"], LogLevel.warn)

    def test_record_of_an_exception_has_its_traceback(self) -> None:
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            self.logger.exception("it failed")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nothing_is_passed_on_after_removal(self) -> None:
        self.logs.remove()
        self.assertEqual(logging.getLogger("confd.test.library").handlers, [])
