"""Describe requests that failed below HTTP: no connection, no TLS, no response."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError

from confd.client.response import MAX_QUOTED_CHARS
from confd.errors import Unavailable
from confd.runtime.certificate_errors import describe_tls_error, is_tls_error


def connection_error(who: str, error: BaseException | None) -> Exception:
    """
    Return the error to raise for a request that failed: C{CancelledError} if the caller cancelled it.

    @param who: the peer, at the beginning of a sentence.
    """
    if _is_cancelled(error):
        return CancelledError()
    return Unavailable("unreachable", f"{who} cannot be reached: {_reason(error)}.")


def _is_cancelled(error: BaseException | None) -> bool:
    """Return whether the caller cancelled the request, which Twisted reports in three ways."""
    reasons = [failure.value for failure in getattr(error, "reasons", ())]
    return any(isinstance(each, (CancelledError, ConnectingCancelledError)) for each in [error, *reasons])


def _reason(error: BaseException | None) -> str:
    """Return the innermost reason that L{twisted.web.client} wraps, as part of a sentence."""
    reasons = getattr(error, "reasons", ())
    if reasons:
        return _reason(reasons[-1].value)
    if error is not None and is_tls_error(error) and error.args and isinstance(error.args[0], list) and error.args[0]:
        return describe_tls_error(str(error.args[0][-1][-1]))[:MAX_QUOTED_CHARS]
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:MAX_QUOTED_CHARS].rstrip(".")
