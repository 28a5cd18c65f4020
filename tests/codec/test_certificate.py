"""Tests of L{confd.codec.certificate}."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec import strict_json
from confd.codec.certificate import (
    KIND,
    MAX_CERTIFICATE_BYTES,
    Certificate,
    leaf_of,
    read_certificate,
    root_of,
    sign,
    verify_certificate,
)
from confd.codec.signing import KeyRing, SigningKey
from confd.errors import Malformed

KEY = SigningKey.load(bytes(range(32)))
LEAVES = sorted(leaf_of(name, "1a2b3c4d.1.7", "sha256:00", "s", 1) for name in ("a", "b", "c"))
CLAIM = Certificate(
    KIND, "1a2b3c4d-0000", "default", "1a2b3c4d.1.7", "sha256:00", "2026-11-24T12:00:00.000Z", 4, 3,
    root_of(LEAVES), "admin", [], 12, "", "",
)  # fmt: skip
SIGNED = sign(CLAIM, KEY)
WITH_LEAVES = sign(msgspec.structs.replace(CLAIM, leaves=LEAVES), KEY)


def trusted(*keys: SigningKey) -> KeyRing:
    """Return a ring that trusts some keys."""
    ring = KeyRing()
    ring.trust([key.public for key in keys])
    return ring


def changed(raw: bytes, **fields: Any) -> bytes:
    """Return a certificate with other fields; C{...} removes a field."""
    value = json.loads(raw) | fields
    return strict_json.encode({name: value[name] for name in value if value[name] is not ...})


class CertificateTests(SynchronousTestCase):
    """L{sign}, L{read_certificate} and L{verify_certificate}."""

    def problem(self, raw: bytes, keys: KeyRing | None = None) -> str:
        """Return why a text is not a certificate of L{KEY}, in one line; empty if it is."""
        try:
            verify_certificate(read_certificate(raw), trusted(KEY) if keys is None else keys)
        except Malformed as error:
            self.assertTrue(error.message.endswith("."), error.message)
            self.assertNotIn("\n", error.message)
            return error.message
        return ""

    def test_bytes(self) -> None:
        """The certificate is canonical, and its signature that of RFC 8032 over domain and fields."""
        value = json.loads(SIGNED)
        self.assertEqual(SIGNED, strict_json.canonical(value))
        self.assertEqual(
            " ".join(value),
            "applied approvals at author checksum cluster_id key_id kind namespace rollout root signature tag targeted",
        )
        signature = value.pop("signature")
        self.assertTrue(
            trusted(KEY).verify(KEY.key_id, signature, b"confd-certificate-v1\n" + strict_json.canonical(value))
        )
        self.assertEqual(json.loads(WITH_LEAVES), json.loads(SIGNED) | {"leaves": LEAVES})

    def test_genuine(self) -> None:
        """A certificate is genuine with and without leaves, in any layout, and while its key is among the given."""
        for raw in (SIGNED, WITH_LEAVES, json.dumps(json.loads(WITH_LEAVES), indent=2).encode()):
            self.assertEqual(self.problem(raw), "")
            self.assertEqual(self.problem(raw, trusted(SigningKey.generate(), KEY)), "")

    def test_forged(self) -> None:
        """No field can be changed, and no other key vouches for it."""
        forged = {
            "tag": "1a2b3c4d.1.8", "targeted": 3, "applied": 4, "root": "0" * 64, "author": "eve", "approvals": ["x"],
            "rollout": None, "namespace": "edge", "cluster_id": "x", "checksum": "x", "at": "x", "key_id": "x",
        }  # fmt: skip
        for name, value in forged.items():
            self.assertIn("no valid signature", self.problem(changed(SIGNED, **{name: value})), name)
        for signature in ("", "x", "é", SIGNED.decode()[:88]):
            self.assertIn("no valid signature", self.problem(changed(SIGNED, signature=signature)))
        self.assertIn("no valid signature", self.problem(SIGNED, trusted(SigningKey.generate())))

    def test_leaves(self) -> None:
        """Leaves that are missing, added, changed or out of order do not fit."""
        for leaves in ([], LEAVES[1:], [*LEAVES, "d|"], ["x", *LEAVES[1:]], LEAVES[::-1]):
            self.assertIn("leaves that", self.problem(changed(WITH_LEAVES, leaves=leaves)))

    def test_hostile(self) -> None:
        """Each text that is no certificate has its sentence."""
        for raw, words in (
            (b"", "not JSON"),
            (WITH_LEAVES[:-9], "not JSON"),
            (b"\xff", "not valid UTF-8"),
            (b"[]", "Expected `object`"),
            (b"{}", "kind"),
            (b'{"kind":1,"kind":2}', "twice"),
            (b"[" * 100_000, "nested"),
            (b"[" * 9 + b"]" * 9, "nested"),
            (b" " * MAX_CERTIFICATE_BYTES + b"1", "larger than"),
            (changed(SIGNED, kind="confd-certificate-v2"), "kind"),
            (changed(SIGNED, more=1), "more"),
            (changed(SIGNED, root=...), "root"),
            (changed(SIGNED, root="x"), "root"),
            (changed(SIGNED, applied=True), "applied"),
            (changed(SIGNED, applied=-1), "applied"),
            (changed(SIGNED, applied=1.5), "applied"),
            (changed(SIGNED, applied=2**60), "digits"),
            (changed(SIGNED, tag=None), "tag"),
            (changed(SIGNED, approvals={}), "approvals"),
            (changed(SIGNED, leaves=[1]), "leaves"),
            (SIGNED.replace(b'"admin"', rb'"\ud800"'), "surrogate"),
            (SIGNED.replace(b"12", b"1e999"), "number"),
            (SIGNED.replace(b"12", b"9" * 5000), "number"),
        ):
            self.assertIn(words, self.problem(raw), raw[:80])

    @given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
    def test_bits(self, place: int, bits: int) -> None:
        """One changed byte ends the proof, wherever it is."""
        # The last digit of the base64 text of a signature has four bits without a meaning.
        assume(SIGNED[place + 1 : place + 3] != b"==")
        raw = bytearray(SIGNED)
        raw[place] ^= bits
        self.assertNotEqual(self.problem(bytes(raw)), "")
