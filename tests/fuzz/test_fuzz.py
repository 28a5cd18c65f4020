"""
Tests that no parser of untrusted bytes raises an undeclared error.

Hypothesis prints a failure and the way to repeat it. With C{CI=true} the examples are the same each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.fuzz.targets import Target, targets


def inputs(words: tuple[bytes, ...], most: int) -> st.SearchStrategy[bytes]:
    """Return a strategy for pieces of the grammar, repeated or not, among random bytes."""
    piece = st.sampled_from(words) | st.binary(max_size=6)
    often = st.builds(lambda piece, count: piece * count, piece, st.integers(1, 300))
    return st.lists(piece | often, max_size=12).map(lambda pieces: b"".join(pieces)[:most])


def _reading(target: Target) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        target.try_(data)

    return read


class FuzzTests(SynchronousTestCase):
    """Tests of each target."""

    def _fuzz(self, choose: Any, examples: int) -> None:
        for target in filter(choose, targets()):
            find = settings(max_examples=examples, suppress_health_check=list(HealthCheck), print_blob=True)
            with self.subTest(target=target.name):
                find(given(inputs(target.words, target.most))(_reading(target)))()
            self.assertEqual(self.flushLoggedErrors(), [], target.name)

    def test_requests(self) -> None:
        """Each header, query and body, from a client and through a proxy."""
        self._fuzz(lambda target: target.of_requests, 12)

    def test_others(self) -> None:
        """The bytes of servers, brokers and disks."""
        self._fuzz(lambda target: not target.of_requests, 50)

    def test_notices(self) -> None:
        """The fuzzer finds a parser that fails for some bytes, and ignores a declared error."""

        def read(data: bytes) -> None:
            if b"ab" in data:
                raise KeyError(data)

        @settings(max_examples=500, suppress_health_check=list(HealthCheck))
        @given(inputs((b"a", b"b"), 100))
        def fuzz(data: bytes) -> None:
            Target("broken", read, (b"a", b"b")).try_(data)

        self.assertRaises(KeyError, fuzz)
        Target("declared", read, (b"a", b"b"), declared=(KeyError,)).try_(b"ab")
