"""Waits and comparisons that the test scripts share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

#: Limit of each wait.
PATIENCE = 120


class Failed(Exception):
    """A wait or a comparison failed."""


def eventually(what: str, check: Callable[[], Any]) -> Any:
    """
    Wait until C{check} returns a true value, and return the value.

    @raise Failed: if the wait reaches its limit.
    """
    until, last = time.monotonic() + PATIENCE, None
    while time.monotonic() < until:
        try:
            last = check()
        except (OSError, ValueError, Failed) as error:
            last = error
        else:
            if last:
                return last
        time.sleep(0.5)
    raise Failed(f"{what}: not within {PATIENCE} s; the last was {last!r}")


def expect(what: str, found: Any, wanted: Any) -> None:
    """
    Compare a result with the expected value.

    @raise Failed: if they differ.
    """
    if found != wanted:
        raise Failed(f"{what}: {found!r}, and should be {wanted!r}")
