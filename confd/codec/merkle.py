"""The root of a Merkle tree with SHA-256 (RFC 6962, section 2.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

#: Prefixes of what is hashed, so that no leaf can pass for an inner node.
_LEAF, _NODE = b"\x00", b"\x01"


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """
    Return the root of the tree of some leaves, in their order.

    @return: 32 bytes; without leaves, the hash of nothing.
    """
    level = [hashlib.sha256(_LEAF + leaf).digest() for leaf in leaves]
    if not level:
        return hashlib.sha256().digest()
    while len(level) > 1:
        # A last node without a neighbour goes up as it is: each left part is a full tree, as the RFC has it.
        rest = level[len(level) & ~1 :]
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [hashlib.sha256(_NODE + left + right).digest() for left, right in pairs] + rest
    return level[0]
