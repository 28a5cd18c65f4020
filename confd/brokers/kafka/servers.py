"""A connection to one server of a Kafka cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ssl import SSLContext

from aiokafka.conn import AIOKafkaConnection
from attrs import field, frozen

#: Seconds that a server holds a request for records until new ones arrive: an idle agent costs it little.
LONG_POLL_SECONDS = 10.0

#: Bytes of the largest answer that is read; a server sends a whole batch, whatever its size.
MAX_FRAME_BYTES = 64 * 1024 * 1024


@frozen
class KafkaOptions:
    """
    What settings decide about connections.

    @ivar servers: where to ask for the addresses of the cluster.
    @ivar username: a user of SCRAM-SHA-256; C{None} logs in nowhere.
    @ivar tls: verifies the servers; C{None} connects without TLS.
    @ivar wait: seconds that a server holds a request for records until new ones arrive.
    """

    servers: Sequence[tuple[str, int]]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: SSLContext | None = None
    wait: float = LONG_POLL_SECONDS


class ServerConnection(AIOKafkaConnection):  # type: ignore[misc]
    """Read answers in bounded memory; the reader of aiokafka has no limit, and logs a stranger's bytes as a crash."""

    def close(self, reason: object = None, exc: Exception | None = None) -> object:
        """Close the connection and drop unsent data."""
        writer = self._writer
        closed = super().close(reason, exc)
        if writer is not None:
            # A server that hangs would never take the rest.
            writer.transport.abort()
        return closed

    @staticmethod
    async def _read(self_ref: Callable[[], ServerConnection | None]) -> None:
        while (connection := self_ref()) is not None:
            reader = connection._reader
            del connection
            size = int.from_bytes(await reader.readexactly(4), "big", signed=True)
            if not 4 <= size <= MAX_FRAME_BYTES:
                raise ConnectionError(f"an answer of {size} bytes")
            frame = await reader.readexactly(size)
            if (connection := self_ref()) is None:
                return
            try:
                connection._handle_frame(frame)
            except Exception:
                raise ConnectionError("a malformed answer") from None
