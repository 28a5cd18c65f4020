"""
The log of a daemon: text on a terminal, otherwise one JSON object a line.

In both formats, a value from outside can neither begin a new line, nor hide text, nor control a terminal.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import IO, Protocol, cast

from attrs import frozen
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from twisted.python.reflect import safe_str

from confd.codec.text import printable
from confd.runtime.setting import setting
from confd.runtime.setting_types import choice, whole, zero_or


@frozen
class LogSettings:
    """The settings of the log of every role."""

    log_level: str = setting(
        "LOG_LEVEL",
        "Lowest level to log: debug, info, warn or error.",
        "info",
        choice("debug", "info", "warn", "error"),
    )
    log_format: str | None = setting(
        "LOG_FORMAT",
        "Log format: text or json. Unset, text on a terminal and otherwise json.",
        None,
        choice("text", "json"),
    )
    log_max_bytes: int = setting(
        "LOG_MAX_BYTES",
        "Size in bytes at which the --logfile is rotated; 0 never rotates it, for use with logrotate.",
        "10485760",
        zero_or(4096, 2**40),
    )
    log_keep: int = setting("LOG_KEEP", "Rotated log files to keep beside the --logfile.", "5", whole(0, 1000))


#: Lowest levels to log of Twisted's own messages, by their namespace.
_TWISTED_LEVELS = {
    "twisted.web": LogLevel.warn,
    "twisted.internet.protocol": LogLevel.warn,
    "twisted.application.internet": LogLevel.warn,
    "twisted.internet.endpoints": LogLevel.warn,
}

#: Namespaces of messages about the process of Twisted, for C{debug} only: the daemons have words of their own.
_TWISTED_CHATTER = ("log_legacy", "twisted.scripts", "twisted.internet.base", "twisted.internet.process")

#: Fields that Twisted's bridge from its old logging adds to an event.
_LEGACY_FIELDS = frozenset(
    {"message", "time", "isError", "system", "format", "why", "failure", "logLevel", "eventText"}
)


class LogOutput(Protocol):
    """The part of a text file that a log needs."""

    def write(self, text: str, /) -> object:
        """Append a text."""

    def flush(self) -> object:
        """Pass everything written to the system."""

    def isatty(self) -> bool:
        """Return whether a person reads the output at a terminal."""


def observer(file: LogOutput, level: str, form: str) -> ILogObserver:
    """
    Return a log observer.

    @param level: the lowest level to log: C{debug}, C{info}, C{warn} or C{error}.
    @param form: C{text} or C{json}.
    """
    predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    for namespace, least in _TWISTED_LEVELS.items():
        predicate.setLogLevelForNamespace(namespace, max(least, LogLevel.levelWithName(level), key=_order))
    if level == "info":
        for namespace in _TWISTED_CHATTER:
            predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
    writer = FileLogObserver(cast(IO[str], file), json_line if form == "json" else text_line)
    return FilteringLogObserver(writer, [predicate])


def _order(level: object) -> int:
    return list(LogLevel.iterconstants()).index(level)


def json_line(event: LogEvent) -> str:
    """
    Return an event as one line of ASCII JSON.

    Its keys are C{time}, C{level}, C{logger}, C{message}, the event's own fields, and C{traceback} of a failure.
    """
    line: dict[str, object] = {
        "time": _time(event),
        "level": _level(event),
        "logger": event.get("log_namespace", ""),
        "message": formatEvent(event),
    }
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY_FIELDS:
            line.setdefault(name, _plain(value))
    failure = event.get("log_failure")
    if failure is not None:
        line["traceback"] = failure.getTraceback()
    return json.dumps(line) + "\n"


def text_line(event: LogEvent) -> str:
    """Return an event as a line of text, followed by the indented traceback of a failure."""
    message = formatEvent(event)
    # Line breaks of the template are intended; a line break in a value could forge the next line.
    ours = message.count("\n") == str(event.get("log_format", "")).count("\n")
    lines = message.split("\n") if ours else [message]
    failure = event.get("log_failure")
    if failure is not None:
        lines += failure.getTraceback().rstrip("\n").split("\n")
    head = f"{_time(event)} {_level(event)} [{event.get('log_namespace', '')}]"
    return f"{head} " + "\n\t".join(map(printable, lines)) + "\n"


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", 0), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return "info" if level is None else str(level.name)


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (str, int, float, type(None))) else safe_str(value)
