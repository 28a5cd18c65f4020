"""
The protocols of agents: the first bytes to send, and how to split the answer into messages.

Nothing here keeps state or touches a socket: C{split} takes all bytes that arrived and were not parsed yet.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from typing import Protocol

from attrs import define, frozen

from confd.codec import headers

#: The channel or subject of the raw publisher; the broker treats it like that of confd.
RAW_CHANNEL = "raw"

_END = b"\r\n"
_AUTHORIZATION = headers.basic_authorization("agent", "secret123")


class Kind(enum.Enum):
    """The kinds of messages."""

    READY = "the subscription is active"
    PUSHED = "a configuration"
    RAW = "a payload of the raw publisher"
    PING = "a ping that needs an answer at once"
    SAME = "an answer without a newer version"


@frozen
class Message:
    """
    A parsed message.

    @ivar payload: the announcement, or the body of GET C{/api/v1/config}.
    @ivar reply: what the agent sends at once.
    """

    kind: Kind
    payload: bytes = b""
    reply: bytes = b""


class Dialect(Protocol):
    """
    One protocol.

    @ivar hello: the bytes that an agent sends first.
    """

    hello: bytes

    def split(self, buffer: bytes) -> tuple[list[Message], bytes]:
        """Return the complete messages, and the bytes after them."""


@define(eq=False)
class Redis:
    """RESP2: each subscriber listens to both channels."""

    hello: bytes = f"SUBSCRIBE config:global {RAW_CHANNEL}\r\n".encode()

    def split(self, buffer: bytes) -> tuple[list[Message], bytes]:
        """Split the bytes: see L{Dialect.split}."""
        messages, at = [], 0
        while (found := _resp_array(buffer, at)) is not None:
            (verb, channel, payload), at = found
            ours = channel != RAW_CHANNEL.encode()
            if verb == b"message":
                messages.append(Message(Kind.PUSHED if ours else Kind.RAW, payload))
            elif not ours:
                messages.append(Message(Kind.READY))
        return messages, buffer[at:]

    def publish(self, payload: bytes) -> bytes:
        """Return the bytes with which the raw publisher sends a payload."""
        parts = (b"PUBLISH", RAW_CHANNEL.encode(), payload)
        return b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


@define(eq=False)
class Nats:
    """The NATS client protocol: the answer to the first ping confirms the subscriptions before it."""

    hello: bytes = (
        b'CONNECT {"verbose":false,"pedantic":false,"lang":"benchmark","version":"1"}\r\n'
        + f"SUB config.worker.update 1\r\nSUB {RAW_CHANNEL} 2\r\nPING\r\n".encode()
    )

    def split(self, buffer: bytes) -> tuple[list[Message], bytes]:
        """Split the bytes: see L{Dialect.split}."""
        messages, at = [], 0
        while (end := buffer.find(_END, at)) >= 0:
            words = buffer[at:end].split()
            after = end + 2
            if words[0] == b"MSG":
                after += int(words[-1]) + 2
                if len(buffer) < after:
                    break
                payload = buffer[end + 2 : after - 2]
                messages.append(Message(Kind.PUSHED if words[2] == b"1" else Kind.RAW, payload))
            elif words[0] in (b"PING", b"PONG"):
                ping = words[0] == b"PING"
                messages.append(Message(Kind.PING, reply=b"PONG\r\n") if ping else Message(Kind.READY))
            at = after
        return messages, buffer[at:]

    def publish(self, payload: bytes) -> bytes:
        """Return the bytes with which the raw publisher sends a payload."""
        return b"PUB %s %d\r\n%s\r\n" % (RAW_CHANNEL.encode(), len(payload), payload)


def _chunks(buffer: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each complete chunk of an answer with the position of its end; skip the head."""
    at = buffer.find(b"\r\n\r\n") + 4 if buffer.startswith(b"HTTP/") else 0
    if at == 3:
        return
    while (end := buffer.find(_END, at)) >= 0:
        after = end + 4 + int(buffer[at:end], 16)
        if len(buffer) < after:
            return
        yield buffer[end + 2 : after - 2], after
        at = after


@define(eq=False)
class Stream:
    """Server-sent events in a chunked answer; the current configuration comes first."""

    hello: bytes = b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n\r\n" % _AUTHORIZATION

    def split(self, buffer: bytes) -> tuple[list[Message], bytes]:
        """Split the bytes: see L{Dialect.split}. An event may span chunks."""
        messages: list[Message] = []
        text, done = b"", 0
        for chunk, after in _chunks(buffer):
            text += chunk
            if text.endswith(b"\n\n"):
                messages += [Message(Kind.PUSHED, data) for data in _configurations(text)]
                text, done = b"", after
        return messages, buffer[done:]


@define(eq=False)
class Poller:
    """Conditional requests on a persistent connection."""

    hello: bytes = b""

    def __attrs_post_init__(self) -> None:
        self.hello = self.ask(None)

    def ask(self, tag: str | None) -> bytes:
        """Return a poll of an agent that has C{tag}."""
        condition = b"" if tag is None else f'If-None-Match: "{tag}"\r\n'.encode()
        head = b"GET /api/v1/config HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\n" % _AUTHORIZATION
        return head + condition + _END

    def split(self, buffer: bytes) -> tuple[list[Message], bytes]:
        """Split the bytes: see L{Dialect.split}."""
        head, separator, body = buffer.partition(b"\r\n\r\n")
        if not separator:
            return [], buffer
        status = head.split(None, 2)[1]
        if status == b"304":
            return [Message(Kind.SAME)], body
        length = next(
            int(line.partition(b":")[2]) for line in head.split(_END) if line.lower().startswith(b"content-length:")
        )
        if len(body) < length:
            return [], buffer
        message = Message(Kind.PUSHED, body[:length]) if status == b"200" else Message(Kind.SAME)
        return [message], body[length:]


def _resp_array(buffer: bytes, at: int) -> tuple[list[bytes], int] | None:
    """Return an array of three and the position of its end, or C{None} if it is incomplete."""
    line = buffer.find(_END, at)
    if line < 0:
        return None
    parts, at = [], line + 2
    for _ in range(3):
        line = buffer.find(_END, at)
        if line < 0:
            return None
        mark, value, at = buffer[at : at + 1], buffer[at + 1 : line], line + 2
        if mark == b"$":
            size = int(value)
            value, at = buffer[at : at + size], at + size + 2
            if len(buffer) < at:
                return None
        parts.append(value)
    return parts, at


def _configurations(text: bytes) -> list[bytes]:
    """Return the data of the C{config} events in a text of complete events."""
    return [event.partition(b"data: ")[2] for event in text.split(b"\n\n") if event.startswith(b"event: config\n")]


def command(**values: object) -> bytes:
    """Return an order or a result as a line."""
    return json.dumps(values).encode() + b"\n"
