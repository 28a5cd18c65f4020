"""
A TCP proxy that damages the bytes between agents and a controller or broker.

The proxy runs in a thread of its own, and takes orders from the thread of the test. Faults meet the bytes that flow to
the agents; requests pass unharmed, for a fault of the answer and of the request have the same effect.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from random import Random

from attrs import define, field, frozen

#: The beginning of a broker's message; the last group is the length of the payload, which ends with a CRLF.
REDIS_MESSAGE = re.compile(rb"\*3\r\n\$7\r\nmessage\r\n\$\d+\r\n[^\r]+\r\n\$(\d+)\r\n")
#: Announcements that a stream keeps have headers: HMSG counts them apart, and in the last number.
NATS_MESSAGE = re.compile(rb"H?MSG \S+ \d+ (?:\S+ ){0,2}(\d+)\r\n")

#: The longest delay: longer than the time between two publishes of a test.
DELAY = 0.3


@frozen
class Faults:
    """
    The faults of a proxy: shares from 0 to 1 of the messages of a known protocol, else of the pieces.

    @ivar drop: Share that vanishes. A piece that vanishes ends its connection, for TCP loses no bytes in the middle.
    @ivar double: Share of messages that arrive twice.
    @ivar delay: Share that arrives late; a late message arrives after later messages.
    @ivar flip: Share that arrives with one bit of the payload inverted.
    @ivar cut: Whether all bytes arrive in small pieces.
    @ivar rate: Bytes a second of all connections together, 0 without a limit; not for a known protocol.
    """

    drop: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    flip: float = 0.0
    cut: bool = False
    rate: int = 0


@define(eq=False)
class Proxy:
    """
    A proxy from a free port of loopback to another port.

    @ivar target: The port on loopback to connect to.
    @ivar message: The beginning of a message; C{None} for a protocol without separate messages.
    @ivar faults: The faults from now on.
    @ivar refuses: Whether new connections are reset.
    @ivar harmed: The number of messages or pieces that met a fault.
    """

    target: int
    random: Random
    message: re.Pattern[bytes] | None = None
    faults: Faults = Faults()
    refuses: bool = False
    harmed: int = field(default=0, init=False)
    port: int = field(default=0, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop, init=False)
    _flows: asyncio.Event = field(factory=asyncio.Event, init=False)
    _link: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _writers: set[asyncio.StreamWriter] = field(factory=set, init=False)
    _server: asyncio.Server = field(init=False)
    _thread: threading.Thread = field(init=False)

    # -- for the thread of the test --

    def start(self) -> Proxy:
        """Start to listen."""
        self._flows.set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Break all connections, and end the thread."""
        self._tell(self._server.close)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def drop(self) -> None:
        """Break all connections."""
        self._tell(self._abort)

    def blackhole(self) -> None:
        """Hold back all bytes: connections stay open, and new connections are accepted."""
        self._tell(self._flows.clear)

    def heal(self) -> None:
        """Pass all bytes from now on; open connections continue where they stopped."""
        self.faults, self.refuses = Faults(), False
        self._tell(self._flows.set)

    def _tell(self, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(what)

    # -- in its own thread --

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        ends = [writer]
        try:
            if self.refuses:
                return
            there, onward = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(onward)
            ends.append(onward)
            pumps = [asyncio.create_task(each) for each in (self._pump(reader, onward), self._harm(there, writer))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            # The other side is down, so this side ends too.
            return
        finally:
            for each in ends:
                each.transport.abort()
                self._writers.discard(each)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()

    async def _harm(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = b""
        while data := await reader.read(65536):
            await self._flows.wait()
            if self.message is None:
                await self._pass_piece(data, writer)
            else:
                held = self._pass_messages(held + data, self.message, writer)
            await writer.drain()

    async def _pass_piece(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        faults = self.faults
        if self._strikes(faults.drop):
            writer.transport.abort()
        if self._strikes(faults.delay):
            await asyncio.sleep(self.random.uniform(0, DELAY))
        if self._strikes(faults.flip):
            data = self._flipped(data)
        await self._write(data, writer)

    def _pass_messages(self, data: bytes, message: re.Pattern[bytes], writer: asyncio.StreamWriter) -> bytes:
        """Pass the complete messages; return the incomplete one."""
        while (match := message.search(data)) is not None:
            writer.write(data[: match.start()])
            data = data[match.start() :]
            head = match.end() - match.start()
            end = head + int(match.group(1)) + 2
            if len(data) < end:
                return data
            self._pass_message(data[:head], data[head : end - 2], writer)
            data = data[end:]
        writer.write(data)
        return b""

    def _pass_message(self, head: bytes, payload: bytes, writer: asyncio.StreamWriter) -> None:
        faults = self.faults
        if self._strikes(faults.drop):
            return
        if self._strikes(faults.flip):
            payload = self._flipped(payload)
        for _ in range(2 if self._strikes(faults.double) else 1):
            if self._strikes(faults.delay):
                self._loop.call_later(self.random.uniform(0, DELAY), writer.write, head + payload + b"\r\n")
            else:
                writer.write(head + payload + b"\r\n")

    async def _write(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        if self.faults.rate:
            return await self._trickle(data, writer, self.faults.rate)
        for piece in self._pieces(data) if self.faults.cut else (data,):
            writer.write(piece)
            # A turn of the event loop for each piece, so that the pieces leave one by one.
            await asyncio.sleep(0)

    async def _trickle(self, data: bytes, writer: asyncio.StreamWriter, rate: int) -> None:
        size = max(rate // 20, 1)
        for start in range(0, len(data), size):
            async with self._link:
                await asyncio.sleep(len(data[start : start + size]) / rate)
                writer.write(data[start : start + size])

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = self.random.randint(1, 64)
            yield data[:size]
            data = data[size:]

    def _flipped(self, data: bytes) -> bytes:
        where = self.random.randrange(len(data) * 8)
        return data[: where // 8] + bytes([data[where // 8] ^ 1 << where % 8]) + data[where // 8 + 1 :]

    def _strikes(self, share: float) -> bool:
        struck = self.random.random() < share
        self.harmed += struck
        return struck

    def _abort(self) -> None:
        for each in self._writers:
            each.transport.abort()

    async def _end(self) -> None:
        self._flows.set()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            self._abort()
            await asyncio.wait(tasks, timeout=0.1)
