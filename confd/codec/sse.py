"""Encode and decode server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re

from attrs import frozen

from confd.errors import Malformed

CONTENT_TYPE = "text/event-stream"

#: A frame without a meaning, which flushes the headers.
COMMENT = b":\n\n"

_LINE_END = re.compile(b"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@frozen
class Event:
    """
    One event.

    @ivar id: the last id in the stream, of this event or an earlier one.
    """

    name: str
    data: bytes
    id: str


def frame(name: str, data: bytes, id: str | None = None) -> bytes:
    """
    Encode an event.

    @param data: without line breaks, such as compact JSON.
    """
    head = f"event: {name}\n" if id is None else f"event: {name}\nid: {id}\n"
    return head.encode() + b"data: " + data + b"\n\n"


class Parser:
    """Parse a stream that arrives in arbitrary pieces, reading each byte once."""

    def __init__(self, limit: int) -> None:
        """
        @param limit: bytes of an event at most.
        """
        self._limit = limit
        self._unfinished = bytearray()
        self._first_line = True
        self._after_return = False
        self._name, self._id = "", ""
        self._data: list[bytes] = []
        self._held = 0

    def feed(self, piece: bytes) -> list[Event]:
        """
        Parse a piece; return the events that it completes.

        @raise Malformed: if an event is larger than the limit. The parser is unusable afterwards.
        """
        if not piece:
            return []
        if self._after_return:
            # The CR of a CRLF ended the line already; skip the LF.
            piece = piece.removeprefix(b"\n")
        self._after_return = piece.endswith(b"\r")
        *ends, rest = _LINE_END.split(piece)
        events = []
        for end in ends:
            event = self._line(self._finish(end))
            if event is not None:
                events.append(event)
        self._bound(rest)
        self._unfinished += rest
        return events

    def _finish(self, end: bytes) -> bytes:
        self._bound(end)
        line = bytes(self._unfinished) + end
        self._unfinished.clear()
        if self._first_line:
            self._first_line = False
            return line.removeprefix(_BYTE_ORDER_MARK)
        return line

    def _bound(self, more: bytes) -> None:
        if self._held + len(self._unfinished) + len(more) > self._limit:
            raise Malformed("event_too_large", f"The stream holds an event larger than {self._limit} bytes.")

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            # Count the line break, too, so that many empty lines reach the limit.
            self._held += len(value) + 1
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        name, data = self._name or "message", self._data
        self._name, self._data, self._held = "", [], 0
        return Event(name, b"\n".join(data), self._id) if data else None
