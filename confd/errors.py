"""The errors of confd, each with a code for programs and one sentence for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ConfdError(Exception):
    """
    An error that the API reports to its caller.

    @ivar code: stable token for programs.
    @ivar message: one sentence for people: what is wrong, and what to do.
    @ivar details: for invalid fields, one mapping for each violation, with C{pointer} and C{message}.
    @ivar retry_after: seconds to wait before the next attempt (C{Retry-After}), or C{None}.
    """

    retry_after: float | None = None

    def __init__(self, code: str, message: str, details: Sequence[Mapping[str, object]] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details


class Malformed(ConfdError):
    """The syntax of a request or a response is invalid."""


class Unauthenticated(ConfdError):
    """The credentials are missing or wrong."""


class TokenRequired(Unauthenticated):
    """The bearer token is missing or wrong."""


class Forbidden(ConfdError):
    """The identity may not do this."""


class NotFound(ConfdError):
    """The resource does not exist."""


class Gone(ConfdError):
    """The resource was removed."""


class Conflict(ConfdError):
    """The operation is not allowed in the current state."""


class PreconditionFailed(ConfdError):
    """Someone else changed the resource first."""


class TooLarge(ConfdError):
    """The body is larger than a limit."""


class UnsupportedType(ConfdError):
    """The body is not JSON."""


class Unprocessable(ConfdError):
    """The syntax is valid, but the content is not."""


class TooMany(ConfdError):
    """The caller exceeds a rate or a number; C{retry_after} is in seconds."""

    def __init__(
        self, code: str, message: str, details: Sequence[Mapping[str, object]] = (), *, retry_after: int = 1
    ) -> None:
        super().__init__(code, message, details)
        self.retry_after = retry_after


class Unavailable(ConfdError):
    """The service cannot do this now: it is starting or stopping, or a required part does not work."""


class BadGateway(ConfdError):
    """An upstream server failed."""


class GatewayTimeout(ConfdError):
    """An upstream server took too long."""


class StartError(Exception):
    """
    A start that cannot succeed.

    @ivar reasons: one sentence for each mistake, beginning with the name of the setting to change.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons
