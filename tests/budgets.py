"""How much of what is drawn at random a run tries: a part in each run of the suite, all of it in C{make test-full}."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def budget(part: T, full: T) -> T:
    """
    Return the number of examples to draw, or another measure of a test.

    @param part: The measure in C{make test}.
    @param full: The measure with C{CONFD_TEST_BUDGET=full}.
    """
    return full if os.environ.get("CONFD_TEST_BUDGET") == "full" else part
