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

    def test_fields(self):
        """Time, level, logger, message, and the event's own fields with their types."""
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

    def test_known_time(self):
        """RFC 3339 in UTC."""
        self.assertIn('"time": "2001-09-09T01:46:40.125Z"', json_line({"log_time": 1e9 + 0.125, "log_format": "x"}))

    def test_reserved(self):
        """A field cannot take the place of one of ours."""
        event = {
            "log_format": "x",
            "log_level": LogLevel.warn,
            "log_namespace": "confd.test",
            "level": "a",
            "logger": "b",
        }
        written = json.loads(json_line(event))
        self.assertEqual((written["level"], written["logger"]), ("warn", "confd.test"))

    def test_failure(self):
        """A failure comes with its traceback, on the same line."""
        log = self.logger()
        try:
            raise ZeroDivisionError("by zero")
        except ZeroDivisionError:
            log.failure("{part} failed", part="x")
        (line,) = self.lines()
        written = json.loads(line)
        self.assertEqual((written["level"], written["message"]), ("critical", "x failed"))
        self.assertIn("ZeroDivisionError: by zero", written["traceback"])

    def test_hostile(self):
        """Whatever a value holds it is one line of ASCII, and its reader gets the value back."""
        for value in HOSTILE:
            self.logger().info("agent {hostname} joined", hostname=value)
            (line,) = self.lines()
            self.assertTrue(line.isascii() and line.isprintable(), line)
            self.assertEqual(json.loads(line)["hostname"], value)

    def test_strict(self):
        """Numbers that JSON does not know are texts."""
        self.logger().info("x", a=float("nan"), b=float("inf"))
        written = json.loads(self.lines()[0], parse_constant=self.fail)
        self.assertEqual((written["a"], written["b"]), ("nan", "inf"))

    def test_broken(self):
        """What cannot be shown does not cost the line."""
        self.logger().info("{it} and {missing}", it=Broken(), also=Broken())
        (line,) = self.lines()
        self.assertEqual(json.loads(line)["level"], "info")

    def test_bare(self):
        """An event without anything is a line, too."""
        written = json.loads(json_line({}))
        self.assertEqual((written["level"], written["message"]), ("info", ""))

    @given(st.dictionaries(FIELD_NAMES, st.text() | st.floats() | st.binary() | st.none(), max_size=4))
    def test_any_field(self, fields):
        """Fields of any name and value make one object on one line."""
        line = json_line({"log_format": "x", **fields})
        self.assertEqual(line.count("\n"), 1)
        self.assertEqual(json.loads(line, parse_constant=self.fail)["message"], "x")


class TextTests(Case):
    """For a person at a terminal."""

    def test_line(self):
        """Time, level, logger, message."""
        event = {"log_time": 1e9, "log_level": LogLevel.warn, "log_namespace": "confd.x", "log_format": "a {b}", "b": 1}
        self.assertEqual(text_line(event), "2001-09-09T01:46:40.000Z warn [confd.x] a 1\n")

    def test_failure(self):
        """The lines of a traceback are indented under theirs."""
        line = text_line({"log_format": "broken", "log_failure": Failure(ZeroDivisionError("a\nb"))})
        first, *others = line.rstrip("\n").split("\n")
        self.assertTrue(first.endswith("broken"))
        self.assertTrue(others)
        self.assertTrue(all(other.startswith("\t") for other in others))

    def test_hostile(self):
        """Whatever a value holds it stays on its line and moves no cursor."""
        for value in HOSTILE:
            self.logger(form="text").info("agent {hostname} joined", hostname=value)
            (line,) = self.lines()
            self.assertTrue(line.isprintable(), repr(line))

    @given(st.text())
    def test_any_value(self, value):
        """So for any value."""
        self.logger(form="text").info("{value}", value=value)
        (line,) = self.lines()
        self.assertFalse([each for each in line if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp", "Cs")])

    def test_own_breaks(self):
        """A text of several lines that the program itself has written stays one."""
        self.logger(form="text").info("one {a}\ntwo", a=1)
        self.assertEqual([line[-5:] for line in self.lines()], ["one 1", "\ttwo"])
        self.logger(form="text").info("one {a}\ntwo", a="x\ny")
        self.assertEqual(len(self.lines()), 1)

    def test_reads(self):
        """Letters of any language stay as they are."""
        self.logger(form="text").info("{name}", name="Zoë 北京")
        self.assertIn("Zoë 北京", self.lines()[0])


class LevelTests(Case):
    """C{LOG_LEVEL}."""

    def test_levels(self):
        """What is below is left out, whatever the form."""
        for level, count in (("debug", 5), ("info", 4), ("warn", 3), ("error", 2)):
            for form in ("json", "text"):
                log = self.logger(level, form)
                for each in (log.debug, log.info, log.warn, log.error, log.critical):
                    each("x")
                self.assertEqual(len(self.lines()), count)

    def test_chatter(self):
        """Twisted's chatter starts at warnings, even where all of ours is wanted; its errors are never left out."""
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
