"""Tests of L{confd.codec.doorbell} and L{confd.codec.ranks}."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec import strict_json
from confd.codec.doorbell import MAX_DOORBELL_BYTES, Doorbell, read_doorbell, sign
from confd.codec.ranks import rank
from confd.codec.signing import KeyRing, SigningKey
from confd.errors import Malformed

KEY = SigningKey.load(bytes(range(32)))
DOORBELL = Doorbell("rollout", "default", "1a2b3c4d-0000", 12, 3, str(2**64 - 1), "12", "stage=canary", 1000)
SIGNED = sign(DOORBELL, KEY)


def trusted(*keys: SigningKey) -> KeyRing:
    """Return a ring that trusts some keys."""
    ring = KeyRing()
    ring.trust([key.public for key in keys])
    return ring


def changed(**fields: Any) -> bytes:
    """Return a doorbell with other fields; C{...} removes a field."""
    value = json.loads(SIGNED) | fields
    return strict_json.encode({name: value[name] for name in value if value[name] is not ...})


class RankTests(SynchronousTestCase):
    """L{rank}."""

    def test_vectors(self) -> None:
        self.assertEqual((rank("12", "a1"), rank("12", "web-17")), (11467491230919439082, 8944248090956126963))


class DoorbellTests(SynchronousTestCase):
    """L{sign} and L{read_doorbell}."""

    def test_fields(self) -> None:
        """The signature is that of RFC 8032 over the domain and the canonical form of all other fields."""
        value = json.loads(SIGNED)
        self.assertEqual(
            " ".join(value), "kind namespace cluster_id rollout step cut salt select spread_ms key_id signature"
        )
        signed = strict_json.canonical({name: value[name] for name in value if name != "signature"})
        self.assertTrue(trusted(KEY).verify(KEY.key_id, value["signature"], b"confd-doorbell-v1\n" + signed))
        self.assertTrue(read_doorbell(SIGNED).verified(trusted(KEY)))
        self.assertTrue(read_doorbell(json.dumps(value, indent=1).encode()).verified(trusted(KEY)))

    def test_forged(self) -> None:
        """No field can be changed, and no other key vouches for it."""
        for fields in (
            {"namespace": "edge"}, {"cluster_id": "x"}, {"rollout": 13}, {"step": 4}, {"cut": "5"}, {"salt": "x"},
            {"select": ""}, {"spread_ms": 0}, {"key_id": "x"}, {"signature": ""}, {"signature": "é"},
        ):  # fmt: skip
            self.assertFalse(read_doorbell(changed(**fields)).verified(trusted(KEY)), fields)
        self.assertFalse(read_doorbell(SIGNED).verified(trusted(SigningKey.generate())))
        self.assertFalse(read_doorbell(changed(key_id=..., signature=...)).verified(trusted(KEY)))

    def test_hostile(self) -> None:
        """Texts that are no doorbell."""
        texts = [
            b"", b"{}", b"[]", b"null", b"\xff", SIGNED[:-1], b"[" * 9000, SIGNED.replace(b"12", b"9" * 5000),
            SIGNED + b" " * MAX_DOORBELL_BYTES, b'{"kind":1,' + SIGNED[1:],
        ]  # fmt: skip
        values: dict[str, tuple[Any, ...]] = {
            "more": (1,),
            "kind": ("publish",),
            "rollout": ("12", True, -1, 2**53),
            "step": (1.5,),
            "cut": (5, "-1", "05", "1" * 21, "1\n"),
            "select": (None, []),
            "spread_ms": (10**30,),
            "namespace": ({},),
            "salt": (...,),
        }
        for raw in texts + [changed(**{name: each}) for name, wrong in values.items() for each in wrong]:
            self.assertRaises(Malformed, read_doorbell, raw)

    @given(st.binary(max_size=200) | st.sampled_from([SIGNED]))
    def test_any_bytes(self, raw: bytes) -> None:
        """Any bytes are read or refused, and only the signed text is verified."""
        try:
            verified = read_doorbell(raw).verified(trusted(KEY))
        except Malformed:
            verified = False
        self.assertEqual(verified, raw == SIGNED)
