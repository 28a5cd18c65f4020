"""Coroutines that mostly end without a wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def begin(work: Coroutine[Deferred[object], object, None], failed: Callable[[Failure], None]) -> Deferred[None] | None:
    """
    Run a coroutine up to its first wait.

    A L{Deferred} costs as much as a short coroutine, so one is made only for a coroutine that waits.

    @param failed: called with the error of the coroutine, if it fails.
    @return: fires when the coroutine ends, and cancels what it waits for; C{None} if it has ended.
    """
    try:
        waited_for = work.send(None)
    except StopIteration:
        return None
    except Exception:
        failed(Failure())
        return None
    return Deferred.fromCoroutine(_go_on(work, waited_for)).addErrback(failed)


def _go_on(
    work: Coroutine[Deferred[object], object, None], waited_for: Deferred[object]
) -> Generator[Deferred[object], object, None]:
    """Hand what a coroutine waits for to the caller, and results and errors to the coroutine."""
    while True:
        try:
            try:
                result = yield waited_for
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:
                waited_for = work.throw(error)
            else:
                waited_for = work.send(result)
        except StopIteration:
            return
