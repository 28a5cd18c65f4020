"""
The client of nats-py with repairs.

Credentials need TLS, input is bounded, a late answer to a cancelled ping is dropped, and the client closes although a
server hangs.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from nats.aio.client import Client
from nats.errors import Error, ProtocolError
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, Parser

#: Time limit for closing; everything that waits for the server is cut by then.
CLOSE_TIMEOUT_SECONDS = 1.0


class Insecure(Error):
    """The server does not offer TLS, which is required."""

    def __str__(self) -> str:
        return "it does not offer TLS"


#: Bytes of the longest line that is read; INFO names each server of a cluster.
MAX_LINE_BYTES = 65536

#: Bytes of the largest message that is read; NATS servers accept none that is larger.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class BoundedParser(Parser):
    """
    Parse the protocol in linear time and bounded memory.

    The parser of nats-py tries regular expressions on its whole buffer with each piece of input: C{INFO} with 64 kB of
    blanks takes minutes. It has no limit for lines and messages.

    @cvar refused: the error that ends the connection.
    """

    refused = ProtocolError

    #: Bytes at the start of the buffer without a line break.
    _searched = 0

    async def parse(self, data: bytes = b"") -> None:
        """
        Read more bytes.

        @raise ProtocolError: they are malformed, or a line or a message is too long.
        """
        self.buf.extend(data)
        while self.buf:
            if self.state == AWAITING_MSG_PAYLOAD:
                if len(self.buf) < self.needed + 2:
                    return
                await self._message()
                continue
            end = self.buf.find(b"\r\n", self._searched)
            if end > MAX_LINE_BYTES or (end < 0 and len(self.buf) > MAX_LINE_BYTES):
                raise ProtocolError("nats: a line without end")
            if end < 0:
                self._searched = len(self.buf) - 1
                return
            line = bytes(self.buf[:end])
            del self.buf[: end + 2]
            self._searched = 0
            try:
                await self._line(line)
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
                raise ProtocolError("nats: a malformed line") from None

    async def _line(self, line: bytes) -> None:
        verb, *words = line.split()
        if verb in (b"MSG", b"HMSG"):
            self.needed = int(words.pop())
            self.header_needed = int(words.pop()) if verb == b"HMSG" else 0
            subject, sid, *reply = words
            self.msg_arg = {"subject": subject, "sid": int(sid), "reply": b"".join(reply)}
            if len(reply) > 1 or not 0 <= self.header_needed <= self.needed <= MAX_MESSAGE_BYTES:
                raise ValueError("no such message")
            self.state = AWAITING_MSG_PAYLOAD
        elif verb == b"PING":
            await self.nc._process_ping()
        elif verb == b"PONG":
            await self.nc._process_pong()
        elif verb == b"INFO":
            await self.nc._process_info(json.loads(line[4:]))
        elif verb == b"-ERR":
            await self.nc._process_err(line[4:].strip().decode("utf-8", "replace").lower())
        elif verb != b"+OK":
            raise ValueError("no such line")

    async def _message(self) -> None:
        whole, end = bytes(self.buf[: self.needed]), self.buf[self.needed : self.needed + 2]
        if end != b"\r\n":
            raise ProtocolError("nats: a message of another length")
        del self.buf[: self.needed + 2]
        header, payload = whole[: self.header_needed] or None, whole[self.header_needed :]
        self.state, self.header_needed = AWAITING_CONTROL_LINE, 0
        of = self.msg_arg
        await self.nc._process_msg(of["sid"], of["subject"], of["reply"], payload, header)


class NatsClient(Client):
    """A client for one connection, which never reconnects."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = BoundedParser(self)

    async def abort(self) -> None:
        """Close the connection and drop unsent data; C{close} would wait for a server that hangs."""
        self._pending, self._pending_data_size = [], 0
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        if self._flush_queue is not None:
            with suppress(OSError, Error, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                    await self.close()

    async def _process_pong(self) -> None:
        # nats-py would set the result of a cancelled waiter, and the error would end its reader.
        if self._pongs:
            waiting = self._pongs.pop(0)
            self._pongs_received += 1
            self._pings_outstanding = 0
            if not waiting.done():
                waiting.set_result(True)

    def _connect_command(self) -> bytes:
        # nats-py would send the password in clear to a server without TLS.
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise Insecure
        command: bytes = super()._connect_command()
        return command
