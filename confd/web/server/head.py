"""The head of a response: its status line and its headers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf

from attrs import define, field
from twisted.web.http import datetimeToString

#: Seconds for which the header C{Date} stays the same; it names whole seconds.
FRESH_SECONDS = 0.1

#: Ids that are made of one answer of the system's random generator.
_IDS_AT_ONCE = 256


def encode_head(version: bytes, code: bytes, reason: bytes, headers: Iterable[tuple[bytes, Sequence[bytes]]]) -> bytes:
    """
    Return the bytes that L{twisted.web.http.HTTPChannel.writeHeaders} writes.

    @param headers: each name with its values.
    """
    lines = [b"%b %b %b" % (version, code, reason)]
    lines += [name + b": " + value for name, values in headers for value in values]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@define(eq=False)
class HttpDate:
    """
    The header C{Date}, which is written at most ten times a second.

    @ivar seconds: the monotonic clock.
    """

    _seconds: Callable[[], float]
    _text: bytes = field(default=b"", init=False)
    _fresh_until: float = field(default=-inf, init=False)

    def now(self) -> bytes:
        """Return the header for a response that is sent now."""
        now = self._seconds()
        if now >= self._fresh_until:
            self._text, self._fresh_until = datetimeToString(), now + FRESH_SECONDS
        return self._text


def request_ids() -> Iterator[str]:
    """Yield random ids of requests, without an end."""
    while True:
        digits = os.urandom(8 * _IDS_AT_ONCE).hex()
        for at in range(0, len(digits), 16):
            yield digits[at : at + 16]
