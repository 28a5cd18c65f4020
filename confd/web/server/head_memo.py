"""
The heads that clients send again and again, so that each is read and checked once.

A client sends the same head with each poll and with each report of the same length. What the bytes alone decide stays
the same: their meaning, and that they have only one. What depends on the connection, on settings or on the time is
decided for each request.
"""

from __future__ import annotations

from attrs import define, field

from confd.web.server.headers import CheckedHeaders
from confd.web.server.request_head import HeadReader

#: Heads that are kept, and bytes of the longest of them: together at most a few megabytes.
MAX_HEADS, MAX_KEPT_BYTES = 512, 2048

_END = b"\r\n\r\n"


@define(eq=False)
class KnownHead:
    """
    A head that was read before, and has one meaning.

    @ivar kept: what the site keeps for the next request with this head; C{None} for nothing.
    """

    method: bytes
    uri: bytes
    version: bytes
    length: int | None
    persistent: bool
    _headers: dict[bytes, list[bytes]]
    kept: object = field(default=None, init=False)

    @property
    def headers(self) -> CheckedHeaders:
        """Return headers for one request."""
        return CheckedHeaders(self._headers.copy())


@define(eq=False)
class HeadMemo:
    """
    Known heads by their bytes. When it is full it is cleared, which costs each client one more reading.

    @ivar found: how many heads were found.
    """

    _most: int = MAX_HEADS
    found: int = field(default=0, init=False)
    _heads: dict[bytes, KnownHead] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, data: bytes) -> tuple[KnownHead, bytes] | None:
        """Return the known head with which bytes begin, and the bytes behind it; C{None} for any other head."""
        end = data.find(_END) + len(_END)
        head = self._heads.get(data[:end])
        if head is None:
            return None
        self.found += 1
        return head, data[end:]

    def keep(self, raw: bytes, head: HeadReader) -> None:
        """
        Keep a head, unless it is long.

        @param raw: its bytes.
        @param head: a reader that has read it, and nothing after it.
        """
        if len(raw) > MAX_KEPT_BYTES or not self._most:
            return
        if len(self._heads) >= self._most:
            self._heads.clear()
        headers = {name: list(values) for name, values in head.headers.getAllRawHeaders()}
        self._heads[raw] = KnownHead(head.method, head.uri, head.version, head.length, head.persistent, headers)
