"""The pause that a server asks for: C{Retry-After} (RFC 9110 section 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Longest pause in seconds, whatever the server asks for.
MAX_SECONDS = 300.0

#: Statuses with a C{Retry-After}: too many requests, and unavailable.
STATUSES = (429, 503)


def parse_retry_after(value: str | None, date: str | None) -> float | None:
    """
    Read a C{Retry-After} header: seconds, or an HTTP date.

    @param date: C{Date} header of the same response, to which a date is relative, as clocks of two machines differ.
    @return: seconds, at most L{MAX_SECONDS}; C{None} for an invalid value.
    """
    text = (value or "").strip(" \t")
    if text.isascii() and text.isdigit():
        return min(float(text.lstrip("0")[:20] or "0"), MAX_SECONDS)
    until, now = _http_date(text), _http_date(date or "")
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), MAX_SECONDS)


def _http_date(text: str) -> datetime | None:
    """Read an HTTP date in any form (RFC 9110 section 5.6.7); return C{None} if it is invalid."""
    try:
        moment = parsedate_to_datetime(text[:64])
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
