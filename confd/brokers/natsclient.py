"""nats-py's client, mended: it keeps credentials to TLS, and can be closed whatever its server does."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from nats.aio.client import Client
from nats.errors import Error

#: Seconds that closing may take: whatever could wait for the server has been cut by then.
CLOSED_WITHIN = 1.0


class Insecure(Error):
    """The server does not ask for TLS, and was to."""

    def __str__(self) -> str:
        return "it does not ask for TLS"


class NatsClient(Client):
    """A client for one connection."""

    async def abort(self) -> None:
        """Close it with what is still to be sent: C{close} waits for that, for ever if the server hangs."""
        self._pending, self._pending_data_size = [], 0
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        if self._flush_queue is not None:
            with suppress(OSError, Error, TimeoutError):
                async with asyncio.timeout(CLOSED_WITHIN):
                    await self.close()

    def _connect_command(self) -> bytes:
        # Where the server does not ask for TLS nats-py goes on in clear, password and all.
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise Insecure
        command: bytes = super()._connect_command()
        return command
