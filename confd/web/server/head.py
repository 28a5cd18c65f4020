"""The head of a response: its status line and its headers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def encode_head(version: bytes, code: bytes, reason: bytes, headers: Iterable[tuple[bytes, Sequence[bytes]]]) -> bytes:
    """
    Return the bytes that L{twisted.web.http.HTTPChannel.writeHeaders} writes.

    @param headers: each name with its values.
    """
    lines = [b"%b %b %b" % (version, code, reason)]
    lines += [name + b": " + value for name, values in headers for value in values]
    return b"\r\n".join(lines) + b"\r\n\r\n"
