"""Notify observers of an event."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger


@define(eq=False)
class Signal:
    """Observers of an event. An observer that fails affects neither the others nor the caller of L{notify}."""

    _observers: list[Callable[..., object]] = field(factory=list)
    log: Logger = field(factory=Logger, init=False)

    def add(self, observer: Callable[..., object]) -> None:
        """Call an observer at each event from now on."""
        self._observers.append(observer)

    def notify(self, *event: object) -> None:
        """Call every observer with the event, in the order in which the observers were added."""
        for observer in self._observers:
            try:
                observer(*event)
            except Exception:
                self.log.failure("an observer failed at {event}", event=event)
