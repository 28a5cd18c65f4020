"""How a command ends, and what it says when that is not well."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from random import uniform

#: By how much a wait that a controller asks for is lengthened at random, at most.
_JITTER = 1.25


class Exit(enum.IntEnum):
    """The status of the process; C{confdctl --help} lists them with these words."""

    meaning: str

    def __new__(cls, status: int, meaning: str) -> Exit:
        """@param meaning: for the help."""
        made = int.__new__(cls, status)
        made._value_ = status
        made.meaning = meaning
        return made

    OK = 0, "done"
    FAILED = 1, "not done: declined, or an answer that was not expected"
    USAGE = 2, "wrong arguments, settings or profile"
    UNREACHABLE = 3, "no controller answers, or it cannot serve at the moment"
    DENIED = 4, "credentials that are wrong, or that do not allow it"
    NOT_FOUND = 5, "no such version, namespace or agent, or no more"
    CONFLICT = 6, "somebody was faster, or the state of things forbids it"
    INVALID = 7, "a document that is not JSON, does not fit the schema, or is too large"
    NO_QUORUM = 8, "published, but not applied by enough agents in time"
    UNSOUND = 9, "doctor or audit verify found something wrong"
    INTERRUPTED = 130, "Ctrl-C"
    BROKEN_PIPE = 141, "whoever read the output went away"


class CommandError(Exception):
    """
    The command cannot go on.

    @ivar status: what the process ends with.
    @ivar sentence: what is wrong, and what to do.
    @ivar details: lines that say more, such as one a violation.
    @ivar code: the controller's token for it, empty where it comes from here.
    @ivar retry_after: seconds for which the controller asks not to be called again; C{None} where it does not ask.
    """

    retry_after: float | None = None

    def __init__(self, status: Exit, sentence: str, details: Sequence[str] = (), code: str = "") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.details, self.code = status, sentence, tuple(details), code

    def pause(self, otherwise: float) -> float:
        """Return the seconds until the next try: C{otherwise}, or what the controller asks for and some jitter."""
        return otherwise if self.retry_after is None else max(otherwise, self.retry_after * uniform(1, _JITTER))
