"""What the parts of the memory store share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred


class Rows:
    """A part of a L{confd.testing.memory.MemoryStore}, which does the writes of all parts."""

    _write: Callable[..., Deferred[Any]]
    _audited: Callable[..., Deferred[Any]]
