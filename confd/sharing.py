"""One socket that several processes accept connections from."""

from __future__ import annotations

from typing import Any

#: Connections that a process accepts at once where others accept from the same socket, and seconds until it accepts
#: more: without that the first to wake up has all of those that come together, for as long as they last.
FAIR, TURN = 8, 0.001


class _Fair:
    """A port that leaves connections to others."""

    #: Twisted sets it anew each time, and has no other place for it.
    numberAccepts = property(lambda port: FAIR, lambda port, wanted: None)

    def doRead(self: Any) -> None:
        """Accept some."""
        super().doRead()  # type: ignore[misc]
        self.stopReading()
        self.reactor.callLater(TURN, self._go_on)

    def _go_on(self: Any) -> None:
        if self.connected:
            self.startReading()


def share(port: Any) -> Any:
    """Let a port leave connections to others that accept from its socket, too; return it."""
    port.__class__ = type(type(port).__name__, (_Fair, type(port)), {})
    return port
