"""Coroutines that mostly end without a wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TypeAlias

from attrs import define
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_Work: TypeAlias = Coroutine[Deferred[object], object, None]


def begin(work: _Work, failed: Callable[[Failure], None]) -> WaitingCoroutine | None:
    """
    Run a coroutine up to its first wait.

    A L{Deferred} costs as much as a short coroutine, so a coroutine gets none of its own.

    @param failed: called with the error of the coroutine, if it fails.
    @return: C{None} if the coroutine has ended.
    """
    try:
        waits_for = work.send(None)
    except StopIteration:
        return None
    except Exception:
        failed(Failure())
        return None
    waiting = WaitingCoroutine(work, failed, waits_for)
    waits_for.addBoth(waiting.go_on)
    return waiting


@define(eq=False)
class WaitingCoroutine:
    """A coroutine that waits for one L{Deferred} after the other."""

    _work: _Work
    _failed: Callable[[Failure], None]
    _waits_for: Deferred[object]

    def cancel(self) -> None:
        """Cancel what the coroutine waits for."""
        self._waits_for.cancel()

    def go_on(self, result: object) -> None:
        """Hand the result or the error of a wait to the coroutine, and run it up to its next wait."""
        try:
            if isinstance(result, Failure):
                self._waits_for = result.throwExceptionIntoGenerator(self._work)  # type: ignore[arg-type]
            else:
                self._waits_for = self._work.send(result)
        except StopIteration:
            return
        except Exception:
            self._failed(Failure())
            return
        self._waits_for.addBoth(self.go_on)
