"""Tests of L{confd.codec.signing}."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.signing import MAX_TRUSTED_KEYS, KeyRing, SigningKey, key_id_of

KEYS = [SigningKey.generate() for _ in range(MAX_TRUSTED_KEYS + 2)]
MESSAGE = b"a message"

#: RFC 8032 section 7.1, test 3: private key, public key, message, signature.
VECTOR = (
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    "af82",
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
)


def ring(*publics: str) -> KeyRing:
    """Return a ring that trusts these keys."""
    made = KeyRing()
    made.trust(publics)
    return made


def believed(keys: KeyRing) -> list[bool]:
    """Which of L{KEYS} a ring believes."""
    return [keys.verify(key.key_id, key.sign(MESSAGE), MESSAGE) for key in KEYS]


class SigningKeyTests(SynchronousTestCase):
    """L{SigningKey}."""

    def test_a_signature_matches_the_vector_of_rfc_8032(self) -> None:
        private, public, message, signature = map(bytes.fromhex, VECTOR)
        key = SigningKey.load(private)
        self.assertEqual(base64.b64decode(key.public), public)
        self.assertEqual(base64.b64decode(key.sign(message)), signature)
        self.assertEqual(key.key_id, key_id_of(public))

    def test_a_loaded_key_makes_the_same_signatures(self) -> None:
        key = KEYS[0]
        self.assertEqual(SigningKey.load(key.private_bytes()).public, key.public)

    def test_other_numbers_of_bytes_are_refused(self) -> None:
        for private in (b"", b"x" * 31, b"x" * 33):
            self.assertRaises(ValueError, SigningKey.load, private)

    def test_a_log_shows_nothing_of_it(self) -> None:
        private = KEYS[0].private_bytes()
        for secret in (private.hex(), base64.b64encode(private).decode(), "rivate"):
            self.assertNotIn(secret, repr(KEYS[0]))


class KeyRingTests(SynchronousTestCase):
    """L{KeyRing}."""

    def test_an_empty_ring_verifies_nothing(self) -> None:
        self.assertFalse(KeyRing())
        self.assertNotIn(True, believed(KeyRing()))

    def test_two_while_one_is_replaced(self) -> None:
        keys = ring(KEYS[1].public, KEYS[0].public)
        self.assertEqual(believed(keys), [True, True, False, False, False, False])

    def test_one_that_is_sent_no_more_is_revoked(self) -> None:
        keys = ring(KEYS[0].public)
        keys.trust([KEYS[2].public, KEYS[1].public])
        self.assertEqual(believed(keys), [False, True, True, False, False, False])

    def test_the_number_of_trusted_keys_is_bounded(self) -> None:
        self.assertEqual(sum(believed(ring(*(key.public for key in KEYS)))), MAX_TRUSTED_KEYS)

    def test_none_offered_changes_nothing(self) -> None:
        keys = ring(KEYS[0].public)
        for offered in ([], ["rubbish"], ["", "ü", "AAAA", "=" * 44]):
            keys.trust(offered)
            self.assertEqual(believed(keys)[0], True, offered)

    def test_invalid_keys_are_ignored(self) -> None:
        self.assertTrue(believed(ring("rubbish", KEYS[3].public))[3])

    def test_a_signature_of_something_else(self) -> None:
        keys = ring(KEYS[0].public, KEYS[1].public)
        signature = KEYS[0].sign(MESSAGE)
        self.assertFalse(keys.verify(KEYS[0].key_id, signature, MESSAGE + b" "))
        self.assertFalse(keys.verify(KEYS[1].key_id, signature, MESSAGE), "by the other key")
        self.assertFalse(keys.verify("", signature, MESSAGE))

    @given(st.text() | st.binary(max_size=70).map(lambda raw: base64.b64encode(raw).decode()))
    def test_any_signature_of_a_stranger_is_refused(self, signature: str) -> None:
        self.assertFalse(ring(KEYS[0].public).verify(KEYS[0].key_id, signature, MESSAGE))
