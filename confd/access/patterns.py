"""Patterns of namespaces, in grants and freezes: a name, or a prefix that ends with one C{*}."""

from __future__ import annotations

from collections.abc import Iterable


def matches(pattern: str, namespace: str) -> bool:
    """Return whether a pattern matches a namespace."""
    return namespace.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == namespace


def reaches(pattern: str, other: str) -> bool:
    """Return whether a pattern matches every namespace that another pattern matches."""
    return matches(pattern, other.removesuffix("*")) and (pattern.endswith("*") or not other.endswith("*"))


def overlaps(one: str, other: str) -> bool:
    """Return whether two patterns have a namespace in common."""
    if one.endswith("*") and other.endswith("*"):
        return one[:-1].startswith(other[:-1]) or other[:-1].startswith(one[:-1])
    return reaches(one, other) or reaches(other, one)


def covers(patterns: Iterable[str], namespace: str) -> bool:
    """Return whether one of some patterns matches a namespace; none matches an empty name."""
    return bool(namespace) and any(matches(each, namespace) for each in patterns)
