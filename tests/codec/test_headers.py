"""Tests of L{confd.codec.headers}."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.codec import bodies, headers, strict_json
from confd.errors import Malformed
from confd.model import Configuration, Registration, RegistrationResponse, Tag, WorkerState, valid_agent_id
from tests.codec.test_strict_json import FAULTS, values

CLUSTER = "1a2b3c4d-0000-4000-8000-000000000000"
TAG = Tag("1a2b3c4d", 2, 7)
NOW = datetime(2026, 11, 24, 12, 30, 15, 250_000, UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

documents = st.dictionaries(st.text("abc", min_size=1), values, max_size=4)
configurations = st.builds(
    Configuration,
    st.uuids().map(str),
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    st.just("default"),
    documents.map(strict_json.document),
    st.integers(1, 86400),
    st.datetimes(timezones=st.just(UTC)).map(
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    ),
)

#: Bodies that are JSON, nearly what was expected, and hostile.
RUBBISH = [
    *(raw for raw, _ in FAULTS.values()),
    b"{}",
    b"null",
    b"[]",
    b'""',
    b"7",
    b"[" * 17 + b"]" * 17,
]


class TimeTests(SynchronousTestCase):
    """RFC 3339."""

    def test_times_are_utc_with_milliseconds(self):
        self.assertEqual(headers.rfc3339(NOW), "2026-11-24T12:30:15.250Z")
        self.assertEqual(headers.rfc3339(NOW.astimezone(timezone(timedelta(hours=5)))), "2026-11-24T12:30:15.250Z")
        self.assertEqual(headers.rfc3339(datetime(1, 1, 1, tzinfo=UTC)), "0001-01-01T00:00:00.000Z")
        self.assertIsNone(headers.rfc3339(None))

    @given(st.datetimes(timezones=st.just(UTC)))
    def test_a_time_reads_back_to_the_millisecond(self, moment):
        self.assertLess(abs(headers.parse_rfc3339(headers.rfc3339(moment)) - moment), timedelta(milliseconds=1))

    def test_nanoseconds_and_zones_of_the_go_system_are_read(self):
        for text in ("2026-11-24T12:30:15.250123456Z", "2026-11-24T14:30:15.250+02:00", "2026-11-24 12:30:15.25Z"):
            self.assertLess(abs(headers.parse_rfc3339(text) - NOW), timedelta(milliseconds=1))
        for text in ("", "yesterday", "2026-11-24T12:30:15", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"):
            self.assertRaises(ValueError, headers.parse_rfc3339, text)


class EntityTagTests(SynchronousTestCase):
    """C{If-Match} and C{If-None-Match} (RFC 9110 section 13.1)."""

    def test_strong_weak_and_bare_tags_match(self):
        tag = '"1a2b3c4d.2.7"'
        for header in (
            tag, f"W/{tag}", f'"x", {tag}', f'{tag},"x"', f'"x" , W/{tag} , "y"', "*", " * ", "7", '"7"', " 7 ",
            '"1a2b3c4d.2.7-gzip"', 'W/"1a2b3c4d.2.7--gzip"', '"1a2b3c4d.2.7;br"', '"1a2b3c4d.2.7.zst"', f"{tag}-gzip",
            '"7-gzip"', 'W/"7"', f" {tag} ", "1a2b3c4d.2.7", "6, 7", f'"a,b", {tag}',
        ):  # fmt: skip
            with self.subTest(header=header):
                self.assertTrue(headers.not_modified(header, TAG))
        for header in (
            "", '""', '"1a2b3c4d.2.6"', '"1a2b3c4d.1.7"', '"ffffffff.2.7"', "8", "07", '" 7"', '"x,7,y"', '"*"',
            '"1a2b3c4d.2.6-gzip"', '"1a2b3c4d.2.77-gzip"', '"*-gzip"', '"1a2b3c4d.2.7-1"',
            'W/"*"', '"1a2b3c4d.2.7', "1a2b3c4d", ",,,", "77", "-7", "7.0",
        ):  # fmt: skip
            with self.subTest(header=header):
                self.assertFalse(headers.not_modified(header, TAG))

    def test_the_tag_that_is_sent_comes_back(self):
        self.assertEqual(headers.etag(TAG), '"1a2b3c4d.2.7"')
        self.assertEqual(headers.entity_tags(headers.etag(TAG)), {"1a2b3c4d.2.7"})

    def test_a_quoted_star_is_not_the_wildcard(self):
        self.assertIn("*", headers.entity_tags("*"))
        self.assertNotIn("*", headers.entity_tags('"*"'))

    @given(st.text(max_size=80) | st.text('W/"*7, \t', max_size=80))
    def test_any_header_can_be_read(self, header):
        self.assertIsInstance(headers.entity_tags(header), frozenset)


class AuthorizationTests(SynchronousTestCase):
    """Basic authentication (RFC 7617)."""

    @given(
        st.text(st.characters(codec="utf-8", exclude_characters=":"), max_size=20),
        st.text(st.characters(codec="utf-8"), max_size=20),
    )
    def test_any_name_and_password_read_back(self, username, password):
        header = headers.basic_authorization(username, password)
        self.assertEqual(headers.parse_basic_authorization(header), (username.encode(), password.encode()))

    def test_the_scheme_ignores_case_and_spaces(self):
        for header, expected in (
            (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", (b"Aladdin", b"open sesame")),
            (b"basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", (b"Aladdin", b"open sesame")),
            (b"BASIC  QWxhZGRpbjpvcGVuIHNlc2FtZQ== ", (b"Aladdin", b"open sesame")),
            (b"Basic " + base64.b64encode(b"a:b:c"), (b"a", b"b:c")),
            (b"Basic " + base64.b64encode(b":"), (b"", b"")),
            (b"Basic " + base64.b64encode(b"\xff:\0"), (b"\xff", b"\0")),
        ):
            self.assertEqual(headers.parse_basic_authorization(header), expected)

    def test_other_schemes_and_invalid_credentials_are_none(self):
        for header in (
            b"", b"Basic", b"Basic ", b"Bearer QTpC", b"BasicQTpC", b"Basic QTp", b"Basic !!!!",
            b"Basic QT pC", b"Basic \xff\xff", b"Basic " + base64.b64encode(b"nocolon"), b"Digest username=x",
            b"Basic QTpC, Basic QTpC",
        ):  # fmt: skip
            with self.subTest(header=header):
                self.assertIsNone(headers.parse_basic_authorization(header))

    @given(st.binary(max_size=40))
    def test_any_header_can_be_read(self, header):
        headers.parse_basic_authorization(header)
        headers.parse_basic_authorization(b"Basic " + header)


class ConfigurationTests(SynchronousTestCase):
    """The body of GET C{/api/v1/config}."""

    @given(configurations)
    def test_a_configuration_reads_back_with_its_bytes(self, configuration):
        self.assertEqual(bodies.parse_configuration(bodies.configuration_body(configuration)), configuration)

    def test_a_configuration_has_the_documented_fields(self):
        document = strict_json.document({"url": "https://ip.me"})
        body = bodies.configuration_body(Configuration(CLUSTER, 2, 7, "default", document, 30, NOW))
        self.assertEqual(
            json.loads(body),
            {
                "version": 7,
                "data": {"url": "https://ip.me"},
                "poll_interval_seconds": 30,
                "epoch": 2,
                "cluster_id": CLUSTER,
                "checksum": document.checksum,
                "updated_at": "2026-11-24T12:30:15.250Z",
                "namespace": "default",
                "signing_key": None,
                "signing_keys": [],
            },
        )

    def test_invalid_signing_keys_are_left_out(self):
        configuration = bodies.parse_configuration(b'{"version": 3, "data": {"url": "https://ip.me"}}')
        body = bodies.configuration_body(configuration, ["new", "old"])
        self.assertEqual(bodies.parse_served(body).keys, ("new", "old"))
        for keys in ('"signing_key": null', '"signing_keys": 5', '"signing_keys": [5, null]', '"signing_key": {}'):
            raw = f'{{"version": 3, "data": {{"url": "https://ip.me"}}, {keys}}}'.encode()
            self.assertEqual(bodies.parse_served(raw).keys, ())
        raw = b'{"version": 3, "data": {"url": "https://ip.me"}, "signing_key": "one"}'
        self.assertEqual(bodies.parse_served(raw).keys, ("one",))

    def test_another_tag_beside_the_body_is_refused(self):
        """What is named otherwise beside the body was changed on the way (F-51); the Go system names a bare version."""
        ours = Configuration(
            "1a2b3c4d-0000-4000-8000-000000000001", 1, 7, "default", strict_json.document({"url": "x"}), 30, EPOCH
        )
        body = bodies.configuration_body(ours)
        suffixed = (f'"1a2b3c4d.1.7{each}"' for each in ("-gzip", "--gzip", "-br", ";gzip", ".zst", ":br;q"))
        made_up = ("", '"', '"5f-a1b2c3"', 'W/"0123abcd0123abcd"', "12-a4f", "gzip")
        for named in (None, '"1a2b3c4d.1.7"', "1a2b3c4d.1.7", 'W/"1a2b3c4d.1.7"', "7", '"7"', *suffixed, *made_up):
            self.assertEqual(bodies.parse_served(body, named=named).configuration, ours)
        for named in ('"1a2b3c4d.1.8"', "1a2b3c4d.2.7", "6", 'W/"1a2b3c4d.1.8-gzip"'):
            self.assertRaises(Malformed, bodies.parse_served, body, named=named)

    def test_a_body_of_the_go_controller_is_read(self):
        for version in ("3", '"3"'):
            raw = f'{{"version": {version}, "data": {{"url": "https://ip.me"}}, "poll_interval_seconds": 10}}'.encode()
            read = bodies.parse_configuration(raw, "blue")
            self.assertEqual((read.tag, read.namespace, read.poll_interval), (Tag("", 0, 3), "blue", 10))
            self.assertEqual((read.document.raw, read.updated_at), (b'{"url":"https://ip.me"}', EPOCH))

    def test_an_epoch_without_a_cluster_is_ignored(self):
        """An epoch that belongs to no cluster counts nothing: it must not hide later versions of the Go system."""
        read = bodies.parse_configuration(b'{"version": 3, "data": {}, "epoch": 99, "cluster_id": ""}')
        self.assertEqual(read.tag, Tag("", 0, 3))

    def test_one_wrong_field_makes_a_body_malformed(self):
        document = strict_json.document({"a": 1})
        good = json.loads(bodies.configuration_body(Configuration(CLUSTER, 2, 7, "default", document, 30, NOW)))
        for name, wrong in (
            ("version", [0, -1, 1.5, True, None, "", "x", "-1", "1.0", "٣", [], {}, 10**18, "9" * 30, "0" * 5000]),
            ("data", [None, [], "x", 1, True]),
            ("epoch", [0, None, -1, 1.5, "2", True, 10**18]),
            ("cluster_id", ["x", "1A2B3C4D", 7, ["1a2b3c4d"], "1a2b3c4d" * 20]),
            ("checksum", ["", None, "sha256:0", 7, [], document.checksum.upper()]),
        ):
            for value in wrong:
                with self.subTest(name=name, value=str(value)[:30]):
                    raw = json.dumps({**good, name: value}).encode()
                    self.assertRaises(Malformed, bodies.parse_configuration, raw)

    def test_a_document_without_a_canonical_form_is_malformed(self):
        for number in (2**53, 10**30):
            raw = b'{"version": 1, "data": {"a": %d}}' % number
            self.assertRaises(Malformed, bodies.parse_configuration, raw)
            self.assertRaises(Malformed, bodies.parse_worker_checksum, b'{"config": {"a": %d}}' % number)

    def test_an_invalid_time_is_accepted(self):
        for text in ("yesterday", "", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00"):
            raw = json.dumps({"version": 1, "data": {}, "updated_at": text}).encode()
            self.assertEqual(bodies.parse_configuration(raw).updated_at, EPOCH)

    @given(
        st.dictionaries(
            st.sampled_from(
                ["version", "data", "epoch", "cluster_id", "checksum", "updated_at", "poll_interval_seconds"]
            ),
            values | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        )
    )
    def test_any_values_give_a_configuration_or_malformed(self, body):
        try:
            read = bodies.parse_configuration(json.dumps(body).encode())
        except Malformed:
            return
        self.assertEqual(Tag.parse(str(read.tag)), read.tag)
        self.assertTrue(1 <= read.poll_interval <= 86400)


class IntervalTests(SynchronousTestCase):
    """Poll intervals, as an agent believes them."""

    def test_any_interval_is_bounded(self):
        for said, believed in (
            (30, 30), (1, 1), (0, 1), (-5, 1), (86400, 86400), (86401, 86400), (9999999999, 86400), (10**400, 86400),
            (-(10**400), 1), (1.9, 1), (0.1, 1), (float("inf"), 86400), (float("-inf"), 1), (1e308, 86400),
            (float("nan"), 30), (None, 30), ("10", 30), (True, 30), ([], 30), ({}, 30),
        ):  # fmt: skip
            with self.subTest(said=str(said)[:30]):
                self.assertEqual(bodies.bounded_interval(said), believed)


class RegistrationTests(SynchronousTestCase):
    """Joining."""

    def test_empty_fields_are_left_out(self):
        self.assertEqual(json.loads(bodies.registration_body(Registration())), {"namespace": "default"})
        full = Registration("host", "tier=edge", "id-1", "POLLER", "blue", "host:8081")
        self.assertEqual(
            json.loads(bodies.registration_body(full)),
            {
                "hostname": "host",
                "metadata": "tier=edge",
                "agent_id": "id-1",
                "strategy": "POLLER",
                "namespace": "blue",
                "advertise": "host:8081",
            },
        )

    def test_the_response_has_an_id_and_an_interval(self):
        raw = b'{"agent_id": "a-1", "poll_url": "/api/v1/config", "poll_interval_seconds": 5}'
        self.assertEqual(bodies.parse_membership(raw), RegistrationResponse("a-1", 5))
        self.assertEqual(bodies.parse_membership(b'{"agent_id": "a-1"}'), RegistrationResponse("a-1", 30))
        raw = b'{"agent_id": "a-1", "report_window_ms": 1250}'
        self.assertEqual(bodies.parse_membership(raw), RegistrationResponse("a-1", 30, 1.25))

    def test_the_report_window_is_bounded(self):
        for said, believed in (
            (0, 0.0),
            (250, 0.25),
            (1e300, 60.0),
            (-1, 0.0),
            (None, 0.0),
            ("250", 0.0),
            (True, 0.0),
        ):
            with self.subTest(said=said):
                self.assertEqual(bodies.parse_report_window(json.dumps({"report_window_ms": said}).encode()), believed)
        self.assertEqual(bodies.parse_report_window(b"{}"), 0.0)
        self.assertRaises(Malformed, bodies.parse_report_window, b"[]")

    @given(st.dictionaries(st.sampled_from(["agent_id", "poll_interval_seconds"]), values))
    def test_any_response_is_a_membership_or_malformed(self, body):
        try:
            membership = bodies.parse_membership(json.dumps(body).encode())
        except Malformed:
            return
        self.assertTrue(valid_agent_id(membership.agent_id))

    def test_ids_that_could_forge_a_header_are_refused(self):
        for agent_id in ("", "a" * 65, "a\r\nX-Evil: 1", "ä", 7, None):
            self.assertRaises(Malformed, bodies.parse_membership, json.dumps({"agent_id": agent_id}).encode())


class WorkerTests(SynchronousTestCase):
    """What a worker answers."""

    def test_the_state_of_both_workers_is_read(self):
        for raw, state in (
            (b'{"status": "ok", "has_config": true, "version": "1a2b3c4d.2.7", "boot_id": "b"}', (True, str(TAG), "b")),
            (b'{"status": "ok", "has_config": false, "version": null, "boot_id": "b"}', (False, None, "b")),
            (b'{"status": "ok", "has_config": true}', (True, None, "")),
            (b'{"has_config": "yes", "version": 7, "boot_id": null}', (False, None, "")),
        ):
            self.assertEqual(bodies.parse_worker_state(raw), WorkerState(*state))

    def test_the_checksum_is_computed_from_the_document(self):
        raw = b'{"config": {"b": 1, "a": 2}, "version": null, "checksum": "sha256:0", "applied_at": null}'
        self.assertEqual(bodies.parse_worker_checksum(raw), strict_json.checksum({"a": 2, "b": 1}))


class RubbishTests(SynchronousTestCase):
    """Answers from anything that happens to listen: a proxy, a captive portal, a hostile host."""

    readers = (bodies.parse_configuration, bodies.parse_membership, bodies.parse_worker_checksum)

    def test_every_reader_refuses_the_corpus_as_malformed(self):
        for reader in self.readers:
            for raw in RUBBISH:
                with self.subTest(reader=reader.__name__, raw=raw[:30]):
                    self.assertRaises(Malformed, reader, raw)

    @given(st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode()))
    def test_any_bytes_raise_malformed_or_nothing(self, raw):
        for reader in (*self.readers, bodies.parse_worker_state):
            try:
                reader(raw)
            except Malformed as error:
                self.assertLess(len(error.message), 200)
