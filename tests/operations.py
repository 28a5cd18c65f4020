"""What an API document tells of, one operation after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import frozen


@frozen
class Operation:
    """
    One method of one path.

    @ivar who: the identities that may, by name; none where everybody may.
    """

    method: str
    path: str
    who: frozenset[str]
    documented: Any


def operations(document: Any) -> Iterator[Operation]:
    """All that a document tells of."""
    for path, item in document["paths"].items():
        for method, documented in item.items():
            who = frozenset(name for each in documented["security"] for name in each)
            yield Operation(method.upper(), path, who, documented)
