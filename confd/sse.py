"""Server-sent events: frames to bytes and back (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re

from attrs import frozen

from confd.model import Malformed

CONTENT_TYPE = "text/event-stream"

#: A frame that means nothing: it brings the headers on their way.
COMMENT = b":\n\n"

_LINE_END = re.compile(b"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@frozen
class Event:
    """
    One event.

    @ivar id: the last id that the stream has named, by this event or before it.
    """

    name: str
    data: bytes
    id: str


def frame(name: str, data: bytes, id: str | None = None) -> bytes:
    """
    One event as it is sent.

    @param data: without line ends, as compact JSON is.
    """
    head = f"event: {name}\n" if id is None else f"event: {name}\nid: {id}\n"
    return head.encode() + b"data: " + data + b"\n\n"


class Parser:
    """Takes a stream apart, however it is cut into pieces."""

    def __init__(self, limit: int) -> None:
        """
        @param limit: bytes of one event at most.
        """
        self._limit = limit
        self._buffer = b""
        self._begun = False
        self._name, self._id = "", ""
        self._data: list[bytes] = []
        self._held = 0

    def feed(self, piece: bytes) -> list[Event]:
        """
        The events that this piece completes.

        @raise Malformed: an event is larger than the limit; the stream is of no use any more.
        """
        self._buffer += piece
        if not self._begun:
            if _BYTE_ORDER_MARK.startswith(self._buffer[:3]) and len(self._buffer) < 3:
                return []
            self._begun = True
            self._buffer = self._buffer.removeprefix(_BYTE_ORDER_MARK)
        events = []
        position = 0
        for end in _LINE_END.finditer(self._buffer):
            if end.group() == b"\r" and end.end() == len(self._buffer):
                # It may be the first half of a CRLF.
                break
            event = self._line(self._buffer[position : end.start()])
            position = end.end()
            if event is not None:
                events.append(event)
        self._buffer = self._buffer[position:]
        if len(self._buffer) + self._held > self._limit:
            raise Malformed("event_too_large", f"The stream holds an event larger than {self._limit} bytes.")
        return events

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._held += len(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        name, data = self._name or "message", self._data
        self._name, self._data, self._held = "", [], 0
        return Event(name, b"\n".join(data), self._id) if data else None
