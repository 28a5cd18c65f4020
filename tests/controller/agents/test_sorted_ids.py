"""Ids in blocks, against a sorted list."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.agents.sorted_ids import SortedIds
from tests.budgets import budget

IDS = st.integers(0, 30).map(lambda number: f"{number:02}")


class SortedIdsTests(SynchronousTestCase):
    """L{SortedIds}."""

    @settings(max_examples=budget(200, 2000), deadline=None, database=None)
    @given(toggled=st.lists(IDS, max_size=80), after=IDS | st.just(""), most=st.integers(2, 5))
    def test_like_a_sorted_list(self, toggled: list[str], after: str, most: int) -> None:
        """Each id is added where it is missing, and removed where it is there."""
        ids, expected = SortedIds(most), set[str]()
        for agent_id in toggled:
            (ids.remove if agent_id in expected else ids.add)(agent_id)
            expected ^= {agent_id}
            self.assertEqual((list(ids), bool(ids)), (sorted(expected), bool(expected)))
            self.assertLessEqual(max(map(len, ids._blocks)), most)
        self.assertEqual(list(ids.after(after)), sorted(each for each in expected if each > after))

    def test_ids_in_order_fill_the_blocks(self) -> None:
        """A load, which reads in order, leaves no block half empty."""
        ids = SortedIds(4)
        for number in range(20):
            ids.add(f"{number:02}")
        self.assertEqual([len(block) for block in ids._blocks], [4] * 5)
