"""
The protocol of etcd's watchers: a call of gRPC, on an HTTP/2 connection of its own.

Sources: RFC 9113 (frames), RFC 7541 (literal header fields), the gRPC protocol over HTTP/2, and the messages
C{WatchRequest} and C{WatchResponse} of etcd 3.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from benchmarks.dialects import Kind, Message

#: The one key.
KEY = b"config"

_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_ACK, _END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE, _MOST = 4, 2**31 - 1

#: The window of a new connection in bytes: RFC 9113, section 6.9.2.
_WINDOW = 65_535

_CALL = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/etcdserverpb.Watch/Watch"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)


@define(eq=False)
class Etcd:
    """A watch of one key. All windows are open, so that no answer waits for the watcher."""

    hello: bytes = field(init=False)

    @hello.default
    def _first(self) -> bytes:
        settings = _INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _MOST.to_bytes(4, "big")
        call = b"".join(b"\0%c%s%c%s" % (len(k), k.encode(), len(v), v.encode()) for k, v in _CALL)
        # WatchRequest.create_request is field 1, and so is WatchCreateRequest.key.
        watch = _text(1, _text(1, KEY))
        return b"".join(
            [
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                _frame(_SETTINGS, 0, 0, settings),
                _frame(_WINDOW_UPDATE, 0, 0, (_MOST - _WINDOW).to_bytes(4, "big")),
                _frame(_HEADERS, _END_HEADERS, 1, call),
                _frame(_DATA, 0, 1, b"\0" + len(watch).to_bytes(4, "big") + watch),
            ]
        )

    def split(self, buffer: bytes) -> tuple[list[Message], bytes]:
        """Split the bytes: see L{benchmarks.dialects.Dialect.split}. A message may span frames."""
        messages: list[Message] = []
        found: list[Message] = []
        text, done = b"", 0
        for kind, flags, payload, after in _frames(buffer):
            if kind == _DATA:
                text += payload
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                answer = _frame(kind, _ACK, 0, payload if kind == _PING else b"")
                found.append(Message(Kind.PING, reply=answer))
            while len(text) >= 5 and len(text) >= (end := 5 + int.from_bytes(text[1:5], "big")):
                found += _watched(text[5:end])
                text = text[end:]
            if not text:
                messages, found, done = messages + found, [], after
        return messages, buffer[done:]


def _watched(response: bytes) -> Iterator[Message]:
    """
    Yield what a C{WatchResponse} says. Field 3 is C{created}; 11 is an event, whose field 2 has the value in field 5.
    """
    for number, value in _fields(response):
        if number == 3:
            yield Message(Kind.READY)
        elif number == 11:
            pair = dict(_fields(dict(_fields(value))[2]))
            yield Message(Kind.PUSHED, pair[5])


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the fields of a message of Protocol Buffers; numbers have no bytes."""
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        value, at = _number(message, at)
        if tag & 7 == 2:
            yield tag >> 3, message[at : at + value]
            at += value
        else:
            yield tag >> 3, b""


def _number(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length, and the position of its end."""
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at


def _text(number: int, value: bytes) -> bytes:
    """Return a field of less than 128 bytes."""
    return bytes([number << 3 | 2, len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _frames(buffer: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield the kind, the flags and the payload of each complete frame, and the position of its end."""
    at = 0
    while len(buffer) >= at + 9 and len(buffer) >= (end := at + 9 + int.from_bytes(buffer[at : at + 3], "big")):
        yield buffer[at + 3], buffer[at + 4], buffer[at + 9 : end], end
        at = end
