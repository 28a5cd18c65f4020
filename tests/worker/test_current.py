"""Tests of L{confd.worker.current}."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from confd.codec import strict_json
from confd.errors import Conflict, Malformed, NotFound, Unavailable, Unprocessable
from confd.model import Tag
from confd.worker.current import CurrentConfig, fetchable

NOW = datetime(2026, 11, 24, tzinfo=UTC)

#: Each is refused, and the one before it stays.
UNUSABLE: tuple[object, ...] = (
    None,
    1,
    True,
    [],
    {},
    "",
    " ",
    "x",
    "/path",
    "//host/",
    "host:80",
    "http:",
    "http:/",
    "http://",
    "http:///",
    "http:///path",
    "http://?x",
    "http://#x",
    "http://:80/",
    "http://host:0/",
    "http://host:65536/",
    "http://host:99999999999/",
    "http://host:/",
    "http://host:x/",
    "http://host:-1/",
    "http://host:8_0/",
    "http://host:80:80/",
    "http://user@host/",
    "http://user:password@host/",
    "http://@host/",
    "http://host@",
    "http://good\\@evil/",
    "http://good\\evil/",
    "http://a..b/",
    "http://.a/",
    "http://./",
    "http://" + "a" * 64 + "/",
    "http://" + ".".join(["a" * 60] * 5) + "/",
    "http://a%62c/",
    "http://a b/",
    "http://a,b/",
    "http://[/",
    "http://[]/",
    "http://[::1/",
    "http://::1/",
    "http://[::1]x/",
    "http://[::12345]/",
    "http://[127.0.0.1]/",
    "http://[fe80::1%25eth0]/",
    "http://[v1.x]/",
    "http://höst/",
    "http://①②⑦.⓪.⓪.①/",
    "http://host/ü",
    "http://host/ x",
    "http://host/\t",
    "http://host/\n",
    "http://host/\x00",
    "http://host/\x7f",
    " http://host/",
    "http://host/ ",
    "\nhttp://host/",
    "ht\ttp://host/",
    "ftp://host/",
    "file:///etc/passwd",
    "gopher://host/",
    "javascript:alert(1)",
    "data:text/html,x",
    "httpx://host/",
    "http+unix://host/",
    "http//host/",
    "http://host/" + "x" * 2040,
)

#: Each is taken; beside it, what is asked for.
USABLE = {
    "http://host": "http://host/",
    "http://host/": "http://host/",
    "HTTPS://Host.Example.:443/a": "https://Host.Example.:443/a",
    "http://host?a=b": "http://host/?a=b",
    "http://host#c": "http://host/",
    "http://host/a?b=c#d": "http://host/a?b=c",
    "http://host/a@b:c//d": "http://host/a@b:c//d",
    "http://host:00080/": "http://host:00080/",
    "http://under_score/": "http://under_score/",
    "http://xn--hst-sna/": "http://xn--hst-sna/",
    "http://127.1/": "http://127.1/",
    "http://2130706433/": "http://2130706433/",
    "http://0x7f.1/": "http://0x7f.1/",
    "http://[::1]:8080/": "http://[::1]:8080/",
    "http://[::ffff:127.0.0.1]": "http://[::ffff:127.0.0.1]/",
    "http://host/" + "x" * 2036: "http://host/" + "x" * 2036,
}


def put(current: CurrentConfig, value: dict[str, object], version: str | None = None) -> None:
    """Put a document."""
    current.put(value, strict_json.document(value), version)


class FetchableTests(SynchronousTestCase):
    """L{fetchable}."""

    def test_valid_url_loses_its_fragment_and_gets_a_path(self) -> None:
        for url, asked in USABLE.items():
            self.assertEqual(fetchable(url), asked)
            self.assertEqual(fetchable(asked), asked)

    def test_invalid_url_is_refused_without_quoting_it(self) -> None:
        for url in UNUSABLE:
            error = self.assertRaises(ValueError, fetchable, url)
            self.assertRegex(str(error), "^(must|is longer)", url)
            if isinstance(url, str) and len(url) > 7:
                self.assertNotIn(url, str(error))


class CurrentConfigTests(SynchronousTestCase):
    """L{CurrentConfig}."""

    def setUp(self) -> None:
        self.current = CurrentConfig(lambda: NOW)

    def test_no_configuration_is_reported_by_each_accessor(self) -> None:
        self.assertIsNone(self.current.config)
        self.assertRaises(NotFound, self.current.get)
        self.assertRaises(Unavailable, self.current.require)
        self.assertEqual(self.current.problem(), "The worker has no configuration yet.")

    def test_put_replaces_the_configuration(self) -> None:
        put(self.current, {"url": "http://host", "more": [1]}, "0a1b2c3d.1.7")
        target = self.current.require()
        self.assertEqual((target.url, target.version, target.applied_at), ("http://host/", "0a1b2c3d.1.7", NOW))
        self.assertEqual(target.document.raw, b'{"url":"http://host","more":[1]}')
        self.assertIsNone(self.current.problem())

    def test_invalid_configuration_names_the_field_and_keeps_the_current_one(self) -> None:
        put(self.current, {"url": "http://host/"}, "0a1b2c3d.1.7")
        before = self.current.get()
        for value in ({}, *({"url": url} for url in UNUSABLE)):
            error = self.assertRaises(Unprocessable, put, self.current, value, "0a1b2c3d.1.8")
            self.assertEqual(error.details[0]["pointer"], "/url")
            self.assertIs(self.current.get(), before)

    def test_version_that_is_not_a_tag_is_refused(self) -> None:
        for version in ("", "x", "0", "-1", "1.2", "0a1b2c3d.0.1", "0A1B2C3D.1.1", "1" * 30, "7 ", "٧"):
            error = self.assertRaises(Malformed, put, self.current, {"url": "http://host/"}, version)
            self.assertEqual(error.code, "bad_version")
        self.assertIsNone(self.current.config)

    def test_older_version_and_other_content_have_different_codes(self) -> None:
        put(self.current, {"url": "http://host/"}, "0a1b2c3d.1.7")
        put(self.current, {"url": "http://host/"}, "0a1b2c3d.1.7")
        for version, value, code in (
            ("0a1b2c3d.1.6", {"url": "http://host/"}, "older_version"),
            ("0a1b2c3d.1.7", {"url": "http://host/x"}, "other_content"),
        ):
            error = self.assertRaises(Conflict, put, self.current, value, version)
            self.assertEqual(error.code, code)

    def test_same_version_changes_nothing(self) -> None:
        put(self.current, {"url": "http://host/", "a": 1}, "7")
        before = self.current.get()
        put(self.current, {"a": 1.0, "url": "http://host/"}, "7")
        self.assertIs(self.current.get(), before)

    def test_any_order(self) -> None:
        """Whatever comes in whatever order: see L{Worker}."""
        run_state_machine_as_test(Worker)


TAGS = (
    st.none()
    | st.builds(Tag, st.sampled_from(["aaaaaaaa", "bbbbbbbb"]), st.integers(1, 3), st.integers(1, 4))
    | st.builds(Tag, st.just(""), st.just(0), st.integers(1, 4))
)
DOCUMENTS = st.sampled_from(["http://a/", "http://b/"])


class Worker(RuleBasedStateMachine):
    """The state machine of a worker, next to a model of its rules."""

    def __init__(self) -> None:
        super().__init__()
        self.current = CurrentConfig(lambda: NOW)
        self.expected: tuple[Tag | None, str] | None = None

    @rule(tag=TAGS, url=DOCUMENTS)
    def offer(self, tag: Tag | None, url: str) -> None:
        """Put a valid configuration."""
        refused = None
        try:
            put(self.current, {"url": url}, None if tag is None else str(tag))
        except Conflict as error:
            refused = error.code
        assert refused == self.reason(tag, url)
        if refused is None:
            self.expected = (tag, url)

    def reason(self, tag: Tag | None, url: str) -> str | None:
        """Return the code with which the model refuses a version, if it does."""
        known, its_url = self.expected or (None, "")
        if tag is None or known is None or tag.cluster != known.cluster:
            # One without a name, after one without, or of another cluster: the agent decides.
            return None
        if (tag.epoch, tag.version) < (known.epoch, known.version):
            return "older_version"
        return "other_content" if tag == known and url != its_url else None

    @rule(tag=TAGS, url=st.sampled_from(UNUSABLE))
    def offer_unusable(self, tag: Tag | None, url: object) -> None:
        """Put an invalid configuration, which is refused with any version."""
        try:
            put(self.current, {"url": url}, None if tag is None else str(tag))
        except Unprocessable:
            return
        raise AssertionError(url)

    @invariant()
    def holds(self) -> None:
        """Check that the current configuration is the last accepted one."""
        target = self.current.config
        assert (None if target is None else (target.tag, target.url)) == self.expected


class VersionsTests(SynchronousTestCase):
    """Within a cluster, tagged versions never go back."""

    def test_any_order_of_deliveries_leaves_the_newest_version(self) -> None:
        current = CurrentConfig(lambda: NOW)
        newest = 0
        for step in range(10_000):
            version = (step * 7919) % 1000 + step // 20 + 1
            try:
                put(current, {"url": f"http://h/{version}"}, f"aaaaaaaa.1.{version}")
            except Conflict:
                self.assertLess(version, newest)
            newest = max(newest, version)
            self.assertEqual(current.require().url, f"http://h/{newest}")
