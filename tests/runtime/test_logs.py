"""Tests of L{confd.runtime.logs}."""

import io
import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.logs import json_line, observer, text_line

#: What a hostile host name or URL may hold to look like a line of ours, to hide, or to command a terminal (F-42).
HOSTILE = (
    "a\n2026-11-24T12:00:00.000Z info [confd] all is well", "a\r\nb", "a\rb", "\x1b[2J", "a\0b", "a\x85b", "a\u2028b",
    "\u202egnp.exe", "\ud800", "\x9b31m", "\x7f", "a\tb", '"}\n{"level": "info"', "\ufeff", "\\",
)  # fmt: skip


class Broken:
    """Something that cannot be shown."""

    def __str__(self):
        raise ZeroDivisionError

    __repr__ = __str__


class Case(SynchronousTestCase):
    """Events in, lines out."""

    def logger(self, level="info", form="json", namespace="confd.test"):
        """A logger whose lines L{lines} returns."""
        self.file = io.StringIO()
        return Logger(namespace, observer=LogPublisher(observer(self.file, level, form)))

    def lines(self):
        """What was written, line by line, each proven to be whole."""
        text = self.file.getvalue()
        self.assertTrue(not text or text.endswith("\n"))
        return text.split("\n")[:-1]


#: Of the names that begin so Twisted sets the values itself, whatever it is given.
FIELD_NAMES = st.text(max_size=8).filter(lambda name: not name.startswith("log_"))


class JsonTests(Case):
    """One object a line."""

    def test_an_event_has_time_level_logger_message_and_its_own_fields(self):
        log = self.logger()
        log.info("config {tag} applied", tag="1a2b3c4d.1.7", version=7, took=0.5, ok=True, error=None, where=["a"])
        (line,) = self.lines()
        written = json.loads(line)
        self.assertRegex(written.pop("time"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        self.assertEqual(
            written,
            {
                "level": "info",
                "logger": "confd.test",
                "message": "config 1a2b3c4d.1.7 applied",
                "tag": "1a2b3c4d.1.7",
                "version": 7,
                "took": 0.5,
                "ok": True,
                "error": None,
                "where": "['a']",
            },
        )

    def test_the_time_is_rfc_3339_in_utc(self):
        self.assertIn('"time": "2001-09-09T01:46:40.125Z"', json_line({"log_time": 1e9 + 0.125, "log_format": "x"}))

    def test_a_field_cannot_replace_a_key_of_the_log(self):
        event = {
            "log_format": "x",
            "log_level": LogLevel.warn,
            "log_namespace": "confd.test",
            "level": "a",
            "logger": "b",
        }
        written = json.loads(json_line(event))
        self.assertEqual((written["level"], written["logger"]), ("warn", "confd.test"))

    def test_a_failure_has_its_traceback_on_the_same_line(self):
        log = self.logger()
        try:
            raise ZeroDivisionError("by zero")
        except ZeroDivisionError:
            log.failure("{part} failed", part="x")
        (line,) = self.lines()
        written = json.loads(line)
        self.assertEqual((written["level"], written["message"]), ("critical", "x failed"))
        self.assertIn("ZeroDivisionError: by zero", written["traceback"])

    def test_a_hostile_value_stays_on_one_line_and_reads_back(self):
        for value in HOSTILE:
            self.logger().info("agent {hostname} joined", hostname=value)
            (line,) = self.lines()
            self.assertTrue(line.isascii() and line.isprintable(), line)
            self.assertEqual(json.loads(line)["hostname"], value)

    def test_numbers_unknown_to_json_become_texts(self):
        self.logger().info("x", a=float("nan"), b=float("inf"))
        written = json.loads(self.lines()[0], parse_constant=self.fail)
        self.assertEqual((written["a"], written["b"]), ("nan", "inf"))

    def test_a_value_that_cannot_be_shown_does_not_lose_the_line(self):
        self.logger().info("{it} and {missing}", it=Broken(), also=Broken())
        (line,) = self.lines()
        self.assertEqual(json.loads(line)["level"], "info")

    def test_an_empty_event_is_a_line(self):
        written = json.loads(json_line({}))
        self.assertEqual((written["level"], written["message"]), ("info", ""))

    @given(st.dictionaries(FIELD_NAMES, st.text() | st.floats() | st.binary() | st.none(), max_size=4))
    def test_any_fields_make_one_object_on_one_line(self, fields):
        line = json_line({"log_format": "x", **fields})
        self.assertEqual(line.count("\n"), 1)
        self.assertEqual(json.loads(line, parse_constant=self.fail)["message"], "x")


class TextTests(Case):
    """For a person at a terminal."""

    def test_an_event_has_time_level_logger_and_message(self):
        event = {"log_time": 1e9, "log_level": LogLevel.warn, "log_namespace": "confd.x", "log_format": "a {b}", "b": 1}
        self.assertEqual(text_line(event), "2001-09-09T01:46:40.000Z warn [confd.x] a 1\n")

    def test_the_lines_of_a_traceback_are_indented(self):
        line = text_line({"log_format": "broken", "log_failure": Failure(ZeroDivisionError("a\nb"))})
        first, *others = line.rstrip("\n").split("\n")
        self.assertTrue(first.endswith("broken"))
        self.assertTrue(others)
        self.assertTrue(all(other.startswith("\t") for other in others))

    def test_a_hostile_value_stays_on_its_line(self):
        for value in HOSTILE:
            self.logger(form="text").info("agent {hostname} joined", hostname=value)
            (line,) = self.lines()
            self.assertTrue(line.isprintable(), repr(line))

    @given(st.text())
    def test_any_value_stays_on_its_line(self, value):
        self.logger(form="text").info("{value}", value=value)
        (line,) = self.lines()
        self.assertFalse([each for each in line if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp", "Cs")])

    def test_line_breaks_of_a_template_are_kept(self):
        self.logger(form="text").info("one {a}\ntwo", a=1)
        self.assertEqual([line[-5:] for line in self.lines()], ["one 1", "\ttwo"])
        self.logger(form="text").info("one {a}\ntwo", a="x\ny")
        self.assertEqual(len(self.lines()), 1)

    def test_letters_of_any_language_stay_as_they_are(self):
        self.logger(form="text").info("{name}", name="Zoë 北京")
        self.assertIn("Zoë 北京", self.lines()[0])


class LevelTests(Case):
    """C{LOG_LEVEL}."""

    def test_events_below_the_level_are_left_out(self):
        for level, count in (("debug", 5), ("info", 4), ("warn", 3), ("error", 2)):
            for form in ("json", "text"):
                log = self.logger(level, form)
                for each in (log.debug, log.info, log.warn, log.error, log.critical):
                    each("x")
                self.assertEqual(len(self.lines()), count)

    def test_messages_about_the_process_of_twisted_are_for_debugging(self):
        for namespace in ("log_legacy", "twisted.scripts._twistd_unix.UnixAppLogger", "twisted.internet.base"):
            for level, lines in (("debug", 2), ("info", 1), ("warn", 1)):
                log = self.logger(level, namespace=namespace)
                log.info("starting")
                log.warn("trouble")
                self.assertEqual(len(self.lines()), lines, (namespace, level))

    def test_messages_of_twisted_below_warnings_are_left_out_at_every_level(self):
        for namespace in ("twisted.web.server.Site", "twisted.internet.endpoints", "twisted.application.internet"):
            for level in ("debug", "info", "warn"):
                log = self.logger(level, namespace=namespace)
                log.info("chatter")
                log.warn("trouble")
                self.assertEqual([json.loads(line)["message"] for line in self.lines()], ["trouble"])
            log = self.logger("error", namespace=namespace)
            log.warn("trouble")
            log.error("more")
            self.assertEqual([json.loads(line)["message"] for line in self.lines()], ["more"])
