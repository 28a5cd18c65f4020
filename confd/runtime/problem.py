"""What is wrong with a part now: told at C{/ready}, and in the log when it begins, changes and ends."""

from __future__ import annotations

from attrs import define, field
from twisted.logger import Logger


@define(eq=False)
class Problem:
    """
    The trouble that one part has, or has not.

    @ivar part: its name in the log.
    @ivar reason: one sentence, C{None} while it is well.
    """

    part: str
    _log: Logger
    reason: str | None = field(default=None, init=False)

    def begin(self, reason: str) -> None:
        """Something is wrong; said in the log unless it was said last time."""
        if reason != self.reason:
            self.reason = reason
            self._log.warn("{part}: {reason}", part=self.part, reason=reason)

    def end(self) -> None:
        """All is well."""
        if self.reason is not None:
            self.reason = None
            self._log.info("{part}: well again", part=self.part)
