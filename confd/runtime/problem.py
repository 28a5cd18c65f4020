"""The current problem of a part, for C{/ready}, logged when it begins, changes and ends."""

from __future__ import annotations

from attrs import define, field
from twisted.logger import Logger


@define(eq=False)
class Problem:
    """
    The current problem of one part, if it has one.

    @ivar part: name of the part in the log.
    @ivar reason: the problem in one sentence; C{None} while the part works.
    """

    part: str
    _log: Logger
    reason: str | None = field(default=None, init=False)

    def begin(self, reason: str) -> None:
        """Set the reason, and log it unless it is the current one."""
        if reason != self.reason:
            self.reason = reason
            self._log.warn("{part}: {reason}", part=self.part, reason=reason)

    def end(self) -> None:
        """Clear the reason, and log the recovery from a problem."""
        if self.reason is not None:
            self.reason = None
            self._log.info("{part}: recovered", part=self.part)
