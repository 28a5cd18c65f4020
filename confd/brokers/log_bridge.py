"""Bring log records of libraries that use L{logging} into the log of the process."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

_LEVELS = (
    (logging.CRITICAL, LogLevel.critical),
    (logging.ERROR, LogLevel.error),
    (logging.WARNING, LogLevel.warn),
    (logging.INFO, LogLevel.info),
)


class StandardLogs(logging.Handler):
    """Pass the records of some L{logging} loggers on; they would go to standard error otherwise."""

    def __init__(self, names: Sequence[str]) -> None:
        """
        @param names: names of the loggers.
        """
        super().__init__()
        self._loggers = [logging.getLogger(name) for name in names]

    def install(self) -> None:
        """Attach to the loggers."""
        for each in self._loggers:
            each.addHandler(self)

    def remove(self) -> None:
        """Detach from the loggers."""
        for each in self._loggers:
            each.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record to the log of the process."""
        level = next((level for least, level in _LEVELS if record.levelno >= least), LogLevel.debug)
        failure = None
        if record.exc_info is not None and record.exc_info[1] is not None:
            failure = Failure(record.exc_info[1], *record.exc_info[::2])
        Logger(record.name).emit(
            level, "{text}", text=record.getMessage(), **({"log_failure": failure} if failure else {})
        )
