"""How much of what is drawn at random a run tries: a part in each run of the suite, all of it in C{make test-full}."""

from __future__ import annotations

import os


def budget(part: int, full: int) -> int:
    """
    Return the number of examples to draw.

    @param part: The number in C{make test}.
    @param full: The number with C{CONFD_TEST_BUDGET=full}.
    """
    return full if os.environ.get("CONFD_TEST_BUDGET") == "full" else part
