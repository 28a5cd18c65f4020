"""Those who want to hear of changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.logger import Logger


@define(eq=False)
class Signal:
    """Callables, each told of what happens; one that fails harms neither the others nor whoever tells."""

    _listeners_of: list[Callable[..., object]] = field(factory=list)
    log: Logger = field(factory=Logger, init=False)

    def add(self, observer: Callable[..., object]) -> None:
        """Tell it from now on."""
        self._listeners_of.append(observer)

    def tell(self, *what: Any) -> None:
        """Call each of them."""
        for observer in self._listeners_of:
            try:
                observer(*what)
            except Exception:
                self.log.failure("{what} was not told to everyone", what=what)
