"""Tests of L{confd.codec.announcement}."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec import bodies, strict_json
from confd.codec.announcement import announce, read
from confd.codec.signing import KeyRing, SigningKey
from confd.errors import ConfdError, Malformed, Unprocessable
from confd.model import Configuration

KEY, OTHER = SigningKey.generate(), SigningKey.generate()

RING = KeyRing()
RING.trust([KEY.public])

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-strict_json.MAX_INTEGER, strict_json.MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
DOCUMENTS = st.dictionaries(
    _TEXT,
    st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3)),
    max_size=4,
).filter(lambda value: not strict_json._deeper_than(strict_json.MAX_DEPTH, value))


def a_configuration(data: Any = None, **changes: Any) -> Configuration:
    """Version 7 of a document."""
    document = strict_json.document({"url": "https://ip.me", "n": 1.5, "é": ["ü", {}]} if data is None else data)
    cluster_id = "1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
    made = Configuration(cluster_id, 2, 7, "default", document, 30, datetime(2026, 11, 24, 12, 30, tzinfo=UTC))
    return evolve(made, **changes)


MESSAGE = announce(a_configuration(), KEY)


def altered(**fields: Any) -> bytes:
    """L{MESSAGE} with other fields; C{None} leaves one out."""
    changed = json.loads(MESSAGE) | fields
    return json.dumps({name: value for name, value in changed.items() if value is not None}).encode()


class AnnounceTests(SynchronousTestCase):
    """L{announce}, and that L{read} understands it."""

    @given(DOCUMENTS)
    def test_an_announcement_reads_back(self, data: Any) -> None:
        configuration = a_configuration(data)
        announcement = read(announce(configuration, KEY))
        self.assertEqual(announcement.configuration, configuration)
        self.assertTrue(announcement.verified(RING))

    @given(DOCUMENTS)
    def test_another_encoding_of_the_same_message_stays_verified(self, data: Any) -> None:
        rewritten = json.dumps(json.loads(announce(a_configuration(data), KEY)), indent=1, sort_keys=True).encode()
        self.assertTrue(read(rewritten).verified(RING))

    def test_an_announcement_has_the_documented_fields(self) -> None:
        members = json.loads(MESSAGE)
        configuration = a_configuration()
        signature = members.pop("signature")
        self.assertEqual(
            members,
            {
                "version": "7",
                "config": {"url": "https://ip.me", "n": 1.5, "é": ["ü", {}]},
                "timestamp": "2026-11-24T12:30:00.000Z",
                "namespace": "default",
                "epoch": 2,
                "cluster_id": configuration.cluster_id,
                "poll_interval_seconds": 30,
                "checksum": configuration.document.checksum,
                "key_id": KEY.key_id,
            },
        )
        signed = b"confd-announcement-v1\n" + strict_json.canonical(members)
        self.assertTrue(RING.verify(KEY.key_id, signature, signed))

    def test_the_document_is_sent_as_it_was_published(self) -> None:
        raw = b'{"z":1.0,"a":[1e3,-0.0]}'
        document = evolve(strict_json.document(strict_json.decode(raw)), raw=raw)
        self.assertIn(b'"config":' + raw, announce(a_configuration(document=document), KEY))


class ReadTests(SynchronousTestCase):
    """L{read}: whatever it is given, it is understood, doubted or refused."""

    @given(st.integers(0, len(MESSAGE) - 1), st.integers(1, 255))
    def test_a_changed_byte_is_noticed(self, position: int, change: int) -> None:
        broken = bytearray(MESSAGE)
        broken[position] ^= change
        try:
            announcement = read(bytes(broken))
        except Malformed:
            return
        if announcement.verified(RING):
            self.assertEqual(announcement.configuration, a_configuration())

    @given(st.integers(0, len(MESSAGE)))
    def test_a_message_that_was_cut(self, length: int) -> None:
        if length < len(MESSAGE):
            self.assertRaises(Malformed, read, MESSAGE[:length])

    def test_each_field_is_signed(self) -> None:
        for fields in (
            {"version": "8"},
            {"version": 7},
            {"epoch": 3},
            {"namespace": "other"},
            {"namespace": None},
            {"cluster_id": "99999999-5e6f-4a7b-8c9d-0e1f2a3b4c5d"},
            {"poll_interval_seconds": 1},
            {"timestamp": "2027-11-24T12:30:00.000Z"},
            {"checksum": None},
            {"key_id": OTHER.key_id},
            {"key_id": None},
            {"signature": None},
            {"signature": ""},
            {"signature": OTHER.sign(b"")},
            {"more": 1},
        ):
            self.assertFalse(read(altered(**fields)).verified(RING), fields)
        self.assertTrue(read(altered()).verified(RING))

    def test_a_signature_for_another_purpose(self) -> None:
        members = json.loads(MESSAGE)
        del members["signature"]
        for purpose in (b"", b"confd-announcement-v2\n"):
            signature = KEY.sign(purpose + strict_json.canonical(members))
            self.assertFalse(read(altered(signature=signature)).verified(RING))

    def test_a_signature_of_another_key_is_not_verified(self) -> None:
        self.assertFalse(read(announce(a_configuration(), OTHER)).verified(RING))

    def test_an_announcement_of_the_go_controller_is_not_verified(self) -> None:
        announcement = read(b'{"version":"3","config":{"url":"https://ip.me"},"timestamp":"2026-01-02T03:04:05Z"}')
        configuration = announcement.configuration
        self.assertEqual(str(configuration.tag), "3")
        self.assertEqual(configuration.document.raw, b'{"url":"https://ip.me"}')
        self.assertEqual(configuration.updated_at, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        self.assertFalse(announcement.verified(RING))
        self.assertFalse(announcement.verified(KeyRing()))

    def test_invalid_announcements_are_malformed(self) -> None:
        for raw in (
            b"",
            b"null",
            b"[]",
            b"7",
            b'"x"',
            b"{}",
            b"\xff\xfe",
            b"\0" * 100,
            b"[" * 100_000,
            b"9" * 1_000_000,
            b"<html></html>",
            MESSAGE + b"x",
            MESSAGE + MESSAGE,
            MESSAGE.replace(b'"epoch":2', b'"epoch":2,"epoch":2'),
            altered(config=None),
            altered(config=[]),
            altered(config="x"),
            altered(config={"url": "http://forged/"}),
            altered(version="9223372036854775808"),
            altered(version="-1"),
            altered(version="٣"),
            altered(version=0),
            altered(version=1.5),
            altered(version=None),
            altered(epoch="2"),
            altered(epoch=[1]),
            altered(cluster_id="x" * 65),
            altered(cluster_id="not hex!"),
            altered(cluster_id=7),
            altered(key_id=7),
            altered(namespace={}),
            altered(signature=[]),
        ):
            self.assertRaises(Malformed, read, raw)
        self.assertRaises(Malformed, read, b" " * (bodies.MAX_ANSWER_BYTES + 1))

    def test_an_integer_without_a_canonical_form_is_refused(self) -> None:
        self.assertRaises(Unprocessable, read, altered(more=2**53))

    @given(
        st.dictionaries(
            st.sampled_from(list(json.loads(MESSAGE))),
            st.recursive(_SCALARS | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner)),
        )
    )
    def test_any_fields_raise_a_confd_error_or_stay_unverified(self, fields: dict[str, Any]) -> None:
        try:
            announcement = read(altered(**fields))
        except ConfdError:
            return
        if announcement.verified(RING):
            self.assertEqual(announcement.configuration, a_configuration())

    @given(st.binary(max_size=200))
    def test_any_bytes_raise_a_confd_error(self, raw: bytes) -> None:
        self.assertRaises(ConfdError, read, raw)
