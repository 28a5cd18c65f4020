"""Memory that strangers fill, and that does not grow without end."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def put(memory: dict[K, V], key: K, value: V, most: int) -> None:
    """Put something into a memory, as the newest; what is there longest gives way where C{most} are there."""
    memory.pop(key, None)
    if len(memory) >= most:
        del memory[next(iter(memory))]
    memory[key] = value
