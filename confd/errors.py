"""The errors of confd: what a caller did wrong, or what failed, in one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ConfdError(Exception):
    """
    Something that a caller did, or that befell us, and can be told in one sentence.

    @ivar code: a stable token for programs.
    @ivar message: one sentence for a person: what is wrong, and what to do.
    @ivar details: where a field is to blame, one mapping a violation with C{pointer} and C{message}.
    @ivar retry_after: seconds for which the peer asks not to be called again (C{Retry-After}), or C{None}.
    """

    retry_after: float | None = None

    def __init__(self, code: str, message: str, details: Sequence[Mapping[str, object]] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


class Malformed(ConfdError):
    """The request cannot be understood."""


class Unauthenticated(ConfdError):
    """No credentials, or wrong ones."""


class Forbidden(ConfdError):
    """Credentials that do not allow this."""


class NotFound(ConfdError):
    """No such thing."""


class Gone(ConfdError):
    """It was there once, and was removed on purpose."""


class Conflict(ConfdError):
    """The state of things forbids this."""


class PreconditionFailed(ConfdError):
    """Somebody was faster."""


class TooLarge(ConfdError):
    """Over a size limit."""


class UnsupportedType(ConfdError):
    """Not JSON."""


class Unprocessable(ConfdError):
    """Understood, and not acceptable."""


class TooMany(ConfdError):
    """More at once, or more often, than is allowed; C{retry_after} is in seconds."""

    def __init__(
        self, code: str, message: str, details: Sequence[Mapping[str, object]] = (), *, retry_after: int = 1
    ) -> None:
        super().__init__(code, message, details)
        self.retry_after = retry_after


class Unavailable(ConfdError):
    """Not now: starting, stopping, or a part that is needed does not work."""


class BadGateway(ConfdError):
    """Somebody whom we asked on the caller's behalf failed."""


class GatewayTimeout(ConfdError):
    """Somebody whom we asked on the caller's behalf took too long."""


class StartError(Exception):
    """
    A start that cannot succeed.

    @ivar reasons: one sentence a mistake, each beginning with the name of the setting to change.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons
