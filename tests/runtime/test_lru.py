"""Tests of L{confd.runtime.lru}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.lru import put


class LruTests(SynchronousTestCase):
    """L{put}."""

    @given(st.lists(st.integers(0, 9)), st.integers(1, 5))
    def test_the_newest_entries_stay_in_their_order(self, keys: list[int], most: int) -> None:
        memory: dict[int, int] = {}
        for at, key in enumerate(keys):
            put(memory, key, at, most)
        last = {key: at for at, key in enumerate(keys)}
        self.assertEqual(list(memory.items()), sorted(last.items(), key=lambda item: item[1])[-most:])
