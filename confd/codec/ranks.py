"""The rank of an agent among others, the same on every machine."""

from __future__ import annotations

import hashlib


def rank(salt: str, agent_id: str) -> int:
    """Return the rank of an agent, below 2**64; a wave of a rollout picks the agents of lowest rank."""
    digest = hashlib.sha256(f"confd-rank-v1\n{salt}\n{agent_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
