"""What a daemon writes about itself: text for a person at a terminal, else one JSON object a line."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import IO, Any

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatEventAsClassicLogText,
)

#: Of Twisted's own chatter, what is below these levels is left out.
_QUIET = {
    "twisted.web": LogLevel.warn,
    "twisted.internet.protocol": LogLevel.warn,
    "twisted.application.internet": LogLevel.warn,
    "twisted.internet.endpoints": LogLevel.warn,
}


def observer(file: IO[str], level: str, form: str) -> Any:
    """
    A log observer.

    @param level: C{debug}, C{info}, C{warn} or C{error}: what is below is left out.
    @param form: C{text} or C{json}.
    """
    predicate = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    for namespace, least in _QUIET.items():
        predicate.setLogLevelForNamespace(namespace, max(least, LogLevel.levelWithName(level), key=_order))
    formatter = json_line if form == "json" else formatEventAsClassicLogText
    return FilteringLogObserver(FileLogObserver(file, formatter), [predicate])


def _order(level: Any) -> int:
    return list(LogLevel.iterconstants()).index(level)


def json_line(event: LogEvent) -> str:
    """
    An event as one line of JSON: C{time}, C{level}, C{logger}, C{message}, the event's own fields, and C{traceback}
    where there is a failure.
    """
    moment = datetime.fromtimestamp(event.get("log_time", 0), UTC)
    level = event.get("log_level")
    line: dict[str, object] = {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level.name if level is not None else "info",
        "logger": event.get("log_namespace", ""),
        "message": formatEvent(event),
    }
    for name, value in event.items():
        if not name.startswith("log_") and name not in _LEGACY:
            line.setdefault(name, value if isinstance(value, (str, int, float, bool, type(None))) else str(value))
    failure = event.get("log_failure")
    if failure is not None:
        line["traceback"] = failure.getTraceback()
    return json.dumps(line, ensure_ascii=False) + "\n"


#: What Twisted's bridge from its old logging adds to an event.
_LEGACY = frozenset({"message", "time", "isError", "system", "format", "why", "failure", "logLevel", "eventText"})
