"""Tests of L{confd.web.auth.csrf}: a page of another site can make a browser change nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from confd.errors import Forbidden
from confd.web.api.endpoint import Endpoint, endpoints_of
from confd.web.auth.csrf import same_origin
from confd.web.auth.principals import Permission
from tests.web.sample_api import ADMIN, AGENT, SampleSite


class Page:
    """The part of a request that L{same_origin} reads."""

    def __init__(self, **headers: str | list[str]) -> None:
        self.requestHeaders = Headers()
        for name, values in headers.items():
            for value in [values] if isinstance(values, str) else values:
                self.requestHeaders.addRawHeader(name.replace("_", "-"), value)


class SameOriginTests(SynchronousTestCase):
    """L{same_origin}."""

    def assert_foreign(self, page: Page) -> None:
        error = self.assertRaises(Forbidden, same_origin, page)
        self.assertEqual(error.code, "cross_site")

    def test_request_without_origin_passes(self) -> None:
        same_origin(Page(Host="confd.example:8080"))
        same_origin(Page())

    def test_own_origin_passes_in_any_spelling_and_behind_a_tls_proxy(self) -> None:
        for host, origin in (
            ("confd.example:8080", "http://confd.example:8080"),
            ("confd.example:8443", "https://confd.example:8443"),
            ("confd.example", "https://confd.example"),
            ("confd.example", "http://confd.example"),
            ("confd.example:443", "https://confd.example"),
            ("confd.example", "https://confd.example:443"),
            ("CONFD.example", "HTTP://confd.EXAMPLE"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("[::1]", "http://[::1]:80"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ):
            same_origin(Page(Host=host, Origin=origin))
            same_origin(Page(Host=host, Origin=origin, Sec_Fetch_Site="same-origin"))

    def test_foreign_origin_is_refused(self) -> None:
        for host, origin in (
            ("confd.example", "https://evil.example"),
            ("confd.example", "null"),
            ("confd.example", ""),
            ("confd.example", "confd.example"),
            ("confd.example", "file://"),
            ("confd.example", "file://confd.example"),
            ("confd.example", "moz-extension://confd.example"),
            ("confd.example", "https://confd.example.evil.example"),
            ("confd.example", "https://evil.example/confd.example"),
            ("confd.example", "https://confd.example@evil.example"),
            ("confd.example", "https://evil.example#confd.example"),
            ("confd.example", "https://www.confd.example"),
            ("confd.example", "https://confd.example:8443"),
            ("confd.example:8080", "http://confd.example"),
            ("confd.example:8080", "http://confd.example:8081"),
            ("confd.example:80", "https://confd.example"),
            ("127.0.0.1:8080", "http://localhost:8080"),
            ("[::1]:8080", "http://[::2]:8080"),
        ):
            self.assert_foreign(Page(Host=host, Origin=origin))
            self.assert_foreign(Page(Host=host, Origin=origin, Sec_Fetch_Site="same-origin"))
        self.assert_foreign(Page(Origin="http://confd.example"))

    def test_sec_fetch_site_other_than_same_origin_and_none_is_refused(self) -> None:
        for said, passes in (
            ("same-origin", True),
            ("none", True),
            ("same-site", False),
            ("cross-site", False),
            ("", False),
            ("Same-Origin", False),
        ):
            page = Page(Host="confd.example", Sec_Fetch_Site=said)
            if passes:
                same_origin(page)
            else:
                self.assert_foreign(page)

    def test_every_one_of_several_origins_must_be_own(self) -> None:
        self.assert_foreign(Page(Host="a", Origin=["http://a", "http://b"]))
        self.assert_foreign(Page(Host="a", Origin=["http://b", "http://a"]))
        self.assert_foreign(Page(Host="a", Sec_Fetch_Site=["same-origin", "cross-site"]))

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
    def test_only_the_own_origin_passes(self, origin: str) -> None:
        if origin.lower() not in ("http://confd.example", "http://confd.example:", "http://confd.example:80"):
            self.assert_foreign(Page(Host="confd.example:80", Origin=origin))


class DispatcherTests(SynchronousTestCase):
    """L{same_origin} over HTTP, with the credentials that a browser adds."""

    def setUp(self) -> None:
        self.sample = SampleSite()
        self.caller = self.sample.connect()

    def credentials(self, declared: Endpoint) -> tuple[str, str]:
        return AGENT if declared.needs is Permission.AGENT_SERVE else ADMIN

    def test_every_changing_endpoint_refuses_foreign_pages_before_it_reads_the_body(self) -> None:
        changing = [declared for declared, _ in endpoints_of(self.sample.api) if not declared.reads]
        self.assertEqual(len(changing), 7)
        for declared in changing:
            auth = self.credentials(declared)
            for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
                for body in (None, b"{}", b"{", b"name=x"):
                    reply = self.caller.request(declared.method, declared.path, auth=auth, body=body, headers=headers)
                    self.assertEqual((reply.status, reply.code), (403, "cross_site"), declared)
        self.assertEqual((self.sample.api.documents, self.sample.api.attempts, self.sample.api.waiting), ([], [], []))

    def test_missing_credentials_are_reported_before_a_foreign_origin(self) -> None:
        reply = self.caller.post("/document", json={}, headers={"Origin": "https://evil.example"})
        self.assertEqual((reply.status, reply.code), (401, "unauthenticated"))

    def test_own_page_may_change(self) -> None:
        headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
        self.assertEqual(self.caller.post("/document", json={}, auth=ADMIN, headers=headers).status, 200)
        self.assertEqual(self.caller.post("/wish", json={"name": "x"}, auth=AGENT, headers=headers).status, 200)

    def test_foreign_page_may_send_a_read(self) -> None:
        headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        reply = self.caller.get("/wish", auth=AGENT, headers=headers)
        self.assertEqual(reply.status, 200)
        self.assertFalse([name for name in reply.headers if name.startswith("access-control-")])

    def test_preflight_request_is_refused(self) -> None:
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        reply = self.caller.request("OPTIONS", "/document", headers=headers)
        self.assertGreaterEqual(reply.status, 400)
        self.assertFalse([name for name in reply.headers if name.startswith("access-control-")])

    def test_form_of_an_old_browser_gets_415(self) -> None:
        for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
            for path in ("/document", "/maybe", "/later"):
                for body in (b"", b"name=x", b'{"name": "x", "=": 1}'):
                    reply = self.caller.post(path, auth=ADMIN, body=body, headers={"Content-Type": kind})
                    self.assertEqual((reply.status, reply.code), (415, "not_json"), (path, kind, body))
        self.assertEqual((self.sample.api.documents, self.sample.api.attempts, self.sample.api.waiting), ([], [], []))
