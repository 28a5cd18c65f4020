"""Two controllers on one memory store."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from confd.model import Draft
from confd.testing import MemoryStore, SharedMemory, SharedMemoryStore, make_shared_store_tests


def two_stores(test: TestCase, first: Draft) -> Any:
    """Return the stores of two controllers."""
    memory = SharedMemory(MemoryStore(first))
    return SharedMemoryStore(memory), SharedMemoryStore(memory)


class MemorySharedStoreTests(make_shared_store_tests(two_stores)):  # type: ignore[misc]
    """See L{make_shared_store_tests}."""
