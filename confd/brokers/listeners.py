"""Those who listen at a broker."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger

from confd.codec.bodies import MAX_ANSWER_BYTES


@define(eq=False)
class Listeners:
    """
    The listeners of one broker, by topic.

    @ivar dropped: messages that were larger than any announcement.
    """

    log = Logger()

    dropped: int = field(default=0, init=False)
    _ears: dict[str, list[Callable[[bytes], object]]] = field(factory=dict, init=False)
    _connected: list[Callable[[], None]] = field(factory=list, init=False)

    @property
    def topics(self) -> list[str]:
        """What is listened to."""
        return list(self._ears)

    def add(self, topic: str, heard: Callable[[bytes], object], connected: Callable[[], None]) -> None:
        """One more listener; see L{IBroker.listen}."""
        self._ears.setdefault(topic, []).append(heard)
        self._connected.append(connected)

    def hear(self, topic: str, message: bytes) -> None:
        """Pass a message on, unless it is too large."""
        if self.bounded(message) is not None:
            for heard in self._ears.get(topic, ()):
                self._call(heard, message)

    def bounded(self, message: bytes) -> bytes | None:
        """The message, or C{None} if it is larger than any announcement; counted."""
        if len(message) <= MAX_ANSWER_BYTES:
            return message
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:
            self.log.warn(
                "dropped {count} messages larger than {most} bytes", count=self.dropped, most=MAX_ANSWER_BYTES
            )
        return None

    def connected(self) -> None:
        """Tell all that what came before may have been missed."""
        for connected in self._connected:
            self._call(connected)

    def _call(self, listener: Callable[..., object], *arguments: object) -> None:
        try:
            listener(*arguments)
        except Exception:
            self.log.failure("a listener failed")
