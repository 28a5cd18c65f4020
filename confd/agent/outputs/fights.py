"""Fights over an output: repairs that another process undoes again and again."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

#: Repairs within so many seconds that make a fight.
FIGHT_REPAIRS = 3
FIGHT_WINDOW_SECONDS = 60.0

#: Seconds that the first and the longest pause of a fight take, and the calm that ends the fight.
FIRST_PAUSE_SECONDS = 60.0
PAUSE_CAP_SECONDS = 600.0
CALM_SECONDS = 600.0


@define
class _History:
    repairs: list[float] = field(factory=list)
    pause: float = 0.0
    until: float = 0.0


@define(eq=False)
class Fights:
    """When an output that another process changes may be repaired again."""

    _clock: IReactorTime
    _histories: dict[str, _History] = field(factory=dict, init=False)

    def problem(self, name: str) -> str | None:
        """
        Return how often an output was repaired and when the next repair comes, C{None} if a repair is due.

        @param name: of an output that no longer holds what was put there.
        """
        history = self._histories.get(name)
        now = self._clock.seconds()
        if history is None or now >= history.until:
            return None
        left = max(1, round(history.until - now))
        return f"{FIGHT_REPAIRS} repairs in {FIGHT_WINDOW_SECONDS:g} s; next repair in {left} s."

    def repaired(self, names: Iterable[str]) -> None:
        """Count a repair of each output."""
        now = self._clock.seconds()
        for name in names:
            history = self._histories.setdefault(name, _History())
            if history.repairs and now - history.repairs[-1] >= CALM_SECONDS:
                history.repairs, history.pause = [], 0.0
            history.repairs = [each for each in history.repairs if now - each < FIGHT_WINDOW_SECONDS] + [now]
            # In a fight each further repair is undone, too.
            if history.pause or len(history.repairs) >= FIGHT_REPAIRS:
                history.pause = min(history.pause * 2 or FIRST_PAUSE_SECONDS, PAUSE_CAP_SECONDS)
                history.until = now + history.pause
