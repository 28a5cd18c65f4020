"""The listeners of a broker, and the limit on the messages that they get."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger

from confd.codec.bodies import MAX_ANSWER_BYTES


@define(eq=False)
class Listeners:
    """
    The callbacks of one broker by topic.

    @ivar dropped: count of messages that were larger than any announcement.
    """

    log = Logger()

    dropped: int = field(default=0, init=False)
    _received: dict[str, list[Callable[[bytes], object]]] = field(factory=dict, init=False)
    _connected: list[Callable[[], None]] = field(factory=list, init=False)
    #: Topics that a broker may refuse.
    optional: list[str] = field(factory=list, init=False)

    @property
    def topics(self) -> list[str]:
        """The topics that have a listener, but for C{optional}."""
        return [topic for topic in self._received if topic not in self.optional]

    def add(self, topic: str, received: Callable[[bytes], object], connected: Callable[[], None]) -> None:
        """Add the callbacks of a listener; see L{IBroker.listen}."""
        self._received.setdefault(topic, []).append(received)
        self._connected.append(connected)

    def add_optional(self, topic: str, received: Callable[[bytes], object]) -> None:
        """Add the callback of a listener to a topic that the broker may refuse; see L{IBroker.attend}."""
        self._received.setdefault(topic, []).append(received)
        self.optional.append(topic)

    def deliver(self, topic: str, message: bytes) -> None:
        """Pass a message to the listeners of its topic, unless it is too large."""
        if self.bounded(message) is not None:
            for received in self._received.get(topic, ()):
                self._call(received, message)

    def bounded(self, message: bytes) -> bytes | None:
        """Return the message; count it and return C{None} if it is larger than any announcement."""
        if len(message) <= MAX_ANSWER_BYTES:
            return message
        self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:
            self.log.warn(
                "dropped {count} messages larger than {most} bytes", count=self.dropped, most=MAX_ANSWER_BYTES
            )
        return None

    def connected(self) -> None:
        """Notify all listeners that they may have missed earlier messages."""
        for connected in self._connected:
            self._call(connected)

    def _call(self, listener: Callable[..., object], *arguments: object) -> None:
        try:
            listener(*arguments)
        except Exception:
            self.log.failure("a listener raised an error")
