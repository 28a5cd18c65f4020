"""Bounded dictionaries for keys that untrusted peers choose."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def put(entries: dict[K, V], key: K, value: V, max_entries: int) -> None:
    """Set the value of a key as the newest entry; evict the oldest entry if C{max_entries} exist."""
    entries.pop(key, None)
    if len(entries) >= max_entries:
        del entries[next(iter(entries))]
    entries[key] = value
