"""Headers that need no more checks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import AnyStr, TypeVar

from twisted.web.http_headers import Headers

T = TypeVar("T")


class CheckedHeaders(Headers):
    """Headers from dictionaries of canonical names and values without line ends: neither is checked again."""

    __slots__ = ()

    def __init__(self, checked: dict[bytes, list[bytes]]) -> None:
        self._rawHeaders = checked

    def getRawHeaders(  # type: ignore[override]
        self, name: AnyStr, default: T | None = None
    ) -> Sequence[AnyStr] | T | None:
        """Return the values of a header, quickly if its name is bytes, as all names in confd are."""
        if isinstance(name, bytes):
            return self._rawHeaders.get(canonical(name)) or default
        return super().getRawHeaders(name, default)

    def hasHeader(self, name: AnyStr) -> bool:
        return canonical(name) in self._rawHeaders

    def set(self, name: str | bytes, value: str | bytes) -> None:
        """Set a header to one value; a line end in it becomes a space, so that no value adds a header."""
        raw = value.encode() if isinstance(value, str) else value
        self._rawHeaders[canonical(name)] = [b" ".join(raw.splitlines())]

    def update(self, checked: dict[bytes, list[bytes]]) -> None:
        """Set several headers."""
        self._rawHeaders.update(checked)


@lru_cache(1024)
def canonical(name: str | bytes) -> bytes:
    """Return the name of a header in the capitals that Twisted gives it."""
    [(written, _)] = Headers({name if isinstance(name, bytes) else name.encode(): [b""]}).getAllRawHeaders()
    return written
