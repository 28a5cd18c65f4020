"""Tests of L{confd.runtime.daemon}; what real processes do is in L{tests.integration.test_daemon}."""

import gc
import json
import os
import signal
import sys
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import Application, Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from confd.errors import StartError
from confd.runtime.daemon import GC_THRESHOLDS, STOP_TIMEOUT_SECONDS, Daemon, make_daemon, reload_secrets
from confd.runtime.options import RoleOptions, read
from confd.runtime.pid_file import PidFile
from confd.runtime.reload import CHECK_INTERVAL_SECONDS
from confd.runtime.settings import ControllerSettings, LogSettings
from tests.reactors import InstantReactor


class Part(Service):
    """A child that tells what happens to it."""

    def __init__(self, name, calls, stopped=None, starting=None):
        self._name, self._calls, self._stopped, self._starting = name, calls, stopped, starting

    def startService(self):
        """Starts, or fails as the test wants."""
        super().startService()
        self._calls.append(f"{self._name} starts")
        if self._starting is not None:
            raise self._starting

    def stopService(self):
        """Fires with what the test wants."""
        super().stopService()
        self._calls.append(f"{self._name} stops")
        return self._stopped


def settings(**given):
    """Log settings."""
    return read(LogSettings, {name.upper(): text for name, text in given.items()}, {})


class StopTests(SynchronousTestCase):
    """How a daemon ends."""

    def setUp(self):
        self.calls = []
        self.clock = MemoryReactorClock()
        self.daemon = Daemon("test", self.clock, settings(), {})

    def test_parts_stop_one_by_one_the_last_first(self):
        slow = Deferred()
        Part("store", self.calls).setServiceParent(self.daemon)
        Part("listener", self.calls, slow).setServiceParent(self.daemon)
        self.daemon.startService()
        stopped = self.daemon.stopService()
        self.assertEqual(self.calls, ["store starts", "listener starts", "listener stops"])
        self.assertNoResult(stopped)
        slow.callback(None)
        self.assertEqual(self.calls[-1], "store stops")
        self.successResultOf(stopped)

    def test_a_part_that_fails_to_stop_does_not_keep_the_others(self):
        broken = Deferred()
        broken.errback(ZeroDivisionError())
        Part("store", self.calls).setServiceParent(self.daemon)
        Part("broken", self.calls, broken).setServiceParent(self.daemon)
        self.daemon.startService()
        self.successResultOf(self.daemon.stopService())
        self.assertEqual(self.calls[-1], "store stops")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_part_that_never_stops_is_left_behind(self):
        Part("store", self.calls).setServiceParent(self.daemon)
        Part("hung", self.calls, Deferred()).setServiceParent(self.daemon)
        self.daemon.startService()
        stopped = self.daemon.stopService()
        self.assertNoResult(stopped)
        self.clock.advance(STOP_TIMEOUT_SECONDS)
        self.successResultOf(stopped)
        self.assertEqual(self.calls[-1], "store stops")
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)

    def test_a_stop_on_request_exits_without_the_signal(self):
        self.daemon.startService()
        self.clock._exitSignal = 15
        for function, args, kwargs in self.clock.triggers["after"]["shutdown"]:
            function(*args, **kwargs)
        self.assertIsNone(self.clock._exitSignal)


class StartTests(SynchronousTestCase):
    """How a daemon that cannot start ends."""

    def setUp(self):
        self.said = StringIO()
        self.patch(sys, "__stderr__", self.said)

    def _fail(self, error, pid_file=None, **twistd):
        daemon = Daemon("test", Clock(), settings(), twistd, pid_file)
        Part("part", [], starting=error).setServiceParent(daemon)
        return self.assertRaises(SystemExit, daemon.startService)

    def test_a_failed_start_prints_a_line_for_each_mistake_and_exits_with_1(self):
        pid_file = PidFile(os.path.abspath(self.mktemp()))
        pid_file.claim("test")
        error = self._fail(StartError("A: is wrong.", "B: too."), pid_file)
        self.assertEqual((error.code, self.said.getvalue()), (1, "A: is wrong.\nB: too.\n"))
        self.assertFalse(os.path.exists(pid_file.path))

    def test_an_unexpected_error_is_one_line_and_its_traceback_is_logged(self):
        self._fail(ZeroDivisionError("by zero"))
        self.assertEqual(
            self.said.getvalue(), "test: cannot start, and the log says more: ZeroDivisionError('by zero')\n"
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_parent_that_waits_for_the_daemon_gets_the_status(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        self._fail(StartError("A: is wrong."), statusPipe=writer)
        self.assertEqual(os.read(reader, 100), b"1")

    def _make(self, compose):
        from twisted.internet import reactor

        # The clock of the tests' own reactor, which a daemon would make monotonic.
        self.patch(reactor, "seconds", reactor.seconds)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

        class Options(RoleOptions):
            role = LogSettings

        options = Options({})
        options.parseOptions([])
        return make_daemon("test", options, compose, GC_THRESHOLDS)

    def test_settings_that_cannot_work_together_end_the_process(self):

        def compose(reactor, settings):
            raise StartError("A: is wrong.", "B: too.")

        error = self.assertRaises(SystemExit, self._make, compose)
        self.assertEqual(str(error), "A: is wrong.\nB: too.")

    def test_objects_of_the_start_are_exempt_from_garbage_collection(self):
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        daemon = self._make(lambda reactor, settings: [])
        self.assertEqual(gc.get_threshold(), GC_THRESHOLDS)
        self.assertNotIn(id(daemon), map(id, gc.get_objects()))


class LogTests(SynchronousTestCase):
    """Where a daemon's log goes."""

    def observer_of(self, log_settings, **twistd):
        application = Application("test")
        Daemon("test", Clock(), log_settings, {"nodaemon": True, **twistd}).setServiceParent(application)
        return application.getComponent(ILogObserver, None)

    def test_a_log_file_gets_json_lines_of_the_level(self):
        path = self.mktemp()
        observe = self.observer_of(settings(log_level="warn"), logfile=path)
        observe({"log_format": "too quiet", "log_level": LogLevel.info, "log_namespace": "a"})
        observe({"log_format": "loud enough", "log_level": LogLevel.warn, "log_namespace": "a"})
        with open(path) as file:
            self.assertEqual([json.loads(line)["message"] for line in file], ["loud enough"])

    def test_standard_output_gets_text_on_a_terminal_and_json_otherwise(self):

        class Terminal(StringIO):
            def isatty(self):
                return True

        for output, log_format, json_expected in (
            (StringIO(), None, True),
            (StringIO(), "text", False),
            (Terminal(), None, False),
            (Terminal(), "json", True),
        ):
            self.patch(sys, "stdout", output)
            chosen = settings() if log_format is None else settings(log_format=log_format)
            observe = self.observer_of(chosen, logfile="-")
            observe({"log_format": "x", "log_level": LogLevel.info, "log_namespace": "a"})
            self.assertEqual(output.getvalue().startswith("{"), json_expected)

    def test_the_options_logger_and_syslog_of_twistd_take_precedence(self):
        for option in ({"logger": object()}, {"syslog": True}):
            self.assertIsNone(self.observer_of(settings(), **option))

    def test_a_log_file_that_cannot_be_written_is_named(self):
        error = self.assertRaises(SystemExit, self.observer_of, settings(), logfile="/nowhere/x")
        self.assertEqual(str(error), "--logfile: /nowhere/x cannot be written: No such file or directory.")


class ReloadTests(SynchronousTestCase):
    """L{Daemon.reload}."""

    def test_every_part_that_can_reload_does(self) -> None:
        calls: list[str] = []
        daemon = Daemon("test", Clock(), settings(), {})
        Part("other", calls).setServiceParent(daemon)
        part = Part("part", calls)
        part.reload = lambda: calls.append("reloads")
        part.setServiceParent(daemon)
        daemon.reload()
        self.assertEqual(calls, ["reloads"])

    def test_remarks_are_logged_at_the_start(self) -> None:
        daemon = Daemon("test", MemoryReactorClock(), settings(), {}, remarks=["A_FILE: is readable."])
        with capturedLogs() as logs:
            daemon.startService()
        self.assertEqual([each["remark"] for each in logs if "remark" in each], ["A_FILE: is readable."])


class FollowTests(SynchronousTestCase):
    """L{reload_secrets}."""

    def setUp(self) -> None:
        self.clock = InstantReactor()
        self.calls: list[ControllerSettings] = []
        self.admin, self.agent = Path(self.mktemp()), Path(self.mktemp())
        self.admin.write_text("first\n")
        self.agent.write_text("of agents\n")
        self.environ = {"ADMIN_PASSWORD_FILE": str(self.admin), "AGENT_PASSWORD_FILE": str(self.agent)}

    def reload_secrets(self, names: tuple[str, ...] = ("AGENT_PASSWORD", "ADMIN_PASSWORD"), **given: str) -> list[Any]:
        """What looks at the files, started."""
        settings = read(ControllerSettings, given, self.environ)
        found = reload_secrets(self.clock, settings, self.environ, self.calls.append, *names)
        for each in found:
            each.startService()
            self.addCleanup(each.stopService)
        return found

    def passwords(self) -> list[tuple[str, str]]:
        """The passwords that were reloaded."""
        return [(each.agent_password, each.admin_password) for each in self.calls]

    def change(self, text: str, path: Path | None = None) -> None:
        """Another file in the place of the one of the admin, and time to look at it."""
        path = path or self.admin
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)
        self.clock.advance(CHECK_INTERVAL_SECONDS)

    def test_a_changed_file_replaces_its_secret_only(self) -> None:
        self.reload_secrets(ADMIN_USERNAME="root")
        self.clock.advance(CHECK_INTERVAL_SECONDS)
        self.assertEqual(self.calls, [])
        self.change("second\n")
        self.change("new for agents", self.agent)
        self.assertEqual(self.passwords(), [("of agents", "second"), ("new for agents", "second")])
        self.assertEqual(self.calls[-1].admin_username, "root")

    def test_an_invalid_secret_is_refused_once_without_showing_it(self) -> None:
        self.reload_secrets(LISTEN="tcp:0")
        with capturedLogs() as logs:
            for text in ("", "admin123", "x" * 70_000):
                self.change(text)
                self.clock.advance(CHECK_INTERVAL_SECONDS)
            self.admin.chmod(0o602)
            self.admin.unlink()
            self.clock.pump([CHECK_INTERVAL_SECONDS] * 3)
        self.assertEqual(self.calls, [])
        said = [each["reason"] for each in logs]
        self.assertEqual(len(said), 4, said)
        for reason, word in zip(said, ("empty", "built-in", "longer", "cannot be read"), strict=True):
            self.assertTrue(reason.startswith("ADMIN_PASSWORD"), reason)
            self.assertIn(word, reason)
            self.assertNotIn("admin123", reason)
        self.change("third")
        self.assertEqual(self.passwords(), [("of agents", "third")])

    def test_only_the_named_secrets_are_watched(self) -> None:
        self.assertEqual(self.reload_secrets(("REDIS_PASSWORD",)), [])
        self.reload_secrets(("ADMIN_PASSWORD",))
        self.change("new for agents", self.agent)
        self.assertEqual(self.calls, [])

    def test_gone_at_the_start(self) -> None:
        settings = read(ControllerSettings, {}, self.environ)
        self.admin.unlink()
        error = self.assertRaises(
            StartError, reload_secrets, self.clock, settings, self.environ, self.calls.append, "ADMIN_PASSWORD"
        )
        self.assertTrue(error.reasons[0].startswith("ADMIN_PASSWORD_FILE names "), error.reasons)
