"""Headers that need no more checks."""

from __future__ import annotations

from functools import lru_cache

from twisted.web.http_headers import Headers


class CheckedHeaders(Headers):
    """Headers from dictionaries of canonical names and values without line ends: neither is checked again."""

    __slots__ = ()

    def __init__(self, checked: dict[bytes, list[bytes]]) -> None:
        self._rawHeaders = checked

    def update(self, checked: dict[bytes, list[bytes]]) -> None:
        """Set several headers."""
        self._rawHeaders.update(checked)


@lru_cache(1024)
def canonical(name: bytes) -> bytes:
    """Return the name of a header in the capitals that Twisted gives it."""
    [(written, _)] = Headers({name: [b""]}).getAllRawHeaders()
    return written
