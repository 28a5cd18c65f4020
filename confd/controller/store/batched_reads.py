"""Reads of single rows that share their statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

K = TypeVar("K")
V = TypeVar("V")

#: Rows that one read returns: their receivers run in one turn of the reactor.
MAX_BATCH_ROWS = 32


@define(eq=False)
class BatchedReads(Generic[K, V]):
    """
    Reads rows by their keys, one batch at a time. A row that is asked for during a read comes with a later read.

    @ivar read: fires with the rows of keys; a key without a row is missing.
    """

    _read: Callable[[Sequence[K]], Deferred[Mapping[K, V]]]
    _waiting: dict[K, list[Deferred[V | None]]] = field(factory=dict, init=False)
    _busy: bool = field(default=False, init=False)

    def find(self, key: K) -> Deferred[V | None]:
        """Fire with a row as of now or later, C{None} where no row has the key."""
        answer: Deferred[V | None] = Deferred()
        self._waiting.setdefault(key, []).append(answer)
        self._begin()
        return answer

    def _begin(self) -> None:
        if self._busy or not self._waiting:
            return
        self._busy = True
        asked = {key: self._waiting.pop(key) for key in list(islice(self._waiting, MAX_BATCH_ROWS))}
        maybeDeferred(self._read, list(asked)).addBoth(self._finish, asked)

    def _finish(self, found: Mapping[K, V] | Failure, asked: Mapping[K, Sequence[Deferred[V | None]]]) -> None:
        self._busy = False
        self._begin()
        for key, answers in asked.items():
            for answer in answers:
                answer.callback(found if isinstance(found, Failure) else found.get(key))
