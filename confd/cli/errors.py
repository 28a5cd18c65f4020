"""The exit statuses of C{confdctl}, and the error that ends a command."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from random import uniform

#: The largest factor by which a requested wait is lengthened at random.
_MAX_JITTER_FACTOR = 1.25


class Exit(enum.IntEnum):
    """The exit status of the process; C{confdctl --help} lists each with its meaning."""

    meaning: str

    def __new__(cls, status: int, meaning: str) -> Exit:
        """@param meaning: explanation for the help."""
        made = int.__new__(cls, status)
        made._value_ = status
        made.meaning = meaning
        return made

    OK = 0, "success"
    FAILED = 1, "failed: declined at a question, or an unexpected answer"
    USAGE = 2, "usage: wrong arguments, settings or profile"
    UNREACHABLE = 3, "unreachable: no controller answers, or it cannot serve now"
    DENIED = 4, "denied: wrong credentials, or credentials without the permission"
    NOT_FOUND = 5, "not found: no such version, namespace, agent or part of the document"
    CONFLICT = 6, "conflict: someone else published first, or the operation is not allowed now"
    INVALID = 7, "invalid: the document is not JSON, violates the schema, or is too large"
    NO_QUORUM = 8, "published, but too few agents applied it in time, or the rollout is still open"
    UNSOUND = 9, "doctor or audit verify found a problem"
    ROLLED_BACK = 10, "the rollout was aborted or superseded: the agents get another document"
    DIFFERENT = 11, "apply --check found a difference"
    NOT_GENUINE = 12, "verify: the file is not a certificate, or no given key signed it"
    CANNOT_EXECUTE = 126, "exec: the command cannot be executed"
    NO_COMMAND = 127, "exec: no such command"
    INTERRUPTED = 130, "interrupted by Ctrl-C"
    BROKEN_PIPE = 141, "the reader of the output closed the pipe"


class CommandError(Exception):
    """
    The command cannot continue.

    @ivar status: exit status of the process.
    @ivar sentence: the problem, its place and the remedy.
    @ivar details: further lines, such as one for each violation.
    @ivar code: error code of the controller; empty for an error that C{confdctl} found.
    @ivar retry_after: seconds for which the controller wants no further request; C{None} if it does not say.
    """

    retry_after: float | None = None

    def __init__(self, status: Exit, sentence: str, details: Sequence[str] = (), code: str = "") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.details, self.code = status, sentence, tuple(details), code

    def pause(self, otherwise: float) -> float:
        """Return the seconds until the next attempt: at least C{otherwise}, and C{retry_after} with jitter."""
        return (
            otherwise if self.retry_after is None else max(otherwise, self.retry_after * uniform(1, _MAX_JITTER_FACTOR))
        )
