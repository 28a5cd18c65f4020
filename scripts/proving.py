"""What the scripts here that prove something share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

#: Seconds after which something that should come to be is given up.
PATIENCE = 120


class Failed(Exception):
    """Something is not as it should be."""


def eventually(what: str, check: Callable[[], Any]) -> Any:
    """
    Wait until C{check} gives something true, and return that.

    @raise Failed: it never does.
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
    Compare.

    @raise Failed: they differ.
    """
    if found != wanted:
        raise Failed(f"{what}: {found!r}, and should be {wanted!r}")
