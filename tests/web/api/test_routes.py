"""Tests of L{confd.web.api.routes}, over HTTP in memory."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.pages import notFound
from twisted.web.resource import IResource
from zope.interface.verify import verifyObject

from confd.codec.headers import basic_authorization
from confd.runtime.metrics import Metrics
from confd.web.api.endpoint import endpoints_of
from confd.web.api.routes import Routes
from tests.web.sample_api import ADMIN, AGENT, SampleSite

_PLAIN = ["/open", "/wish", "/document", "/maybe", "/later", "/names", "/targets", "/half", "/nothing"]
_VARIABLE = ["/fail/Conflict", "/fail/nonsense", "/bytes/3", "/things/Conflict/x", "/things/ValueError/x"]
_ODD = ["", "/", "//open", "/open/", "/open//", "/op%65n", "/open%2f", "/%2e/open", "/open;y", "/OPEN", "/open%20", "*"]
_QUERIES = ["", "?", "?limit=3", "?limit=x", "?namespace=a&namespace=b", "?a=%ff", "#open", "??"]


def _request(
    method: str, path: str, query: str, auth: tuple[str, str] | None, kind: str | None, body: bytes, version: str
) -> bytes:
    lines = [f"{method} {path}{query} HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}"]
    if auth is not None:
        lines.append(f"Authorization: {basic_authorization(*auth).decode()}")
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join([*lines, "", ""]).encode() + body


REQUESTS = st.builds(
    _request,
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"]),
    st.sampled_from(_PLAIN) | st.sampled_from(_VARIABLE) | st.sampled_from(_ODD),
    st.sampled_from(_QUERIES),
    st.sampled_from([None, AGENT, ADMIN, ("admin", "wrong")]),
    st.sampled_from([None, "application/json", "text/plain"]),
    st.sampled_from([b"", b"{}", b'{"name": "x"}', b"{", b'{"a": "b"}']),
    st.sampled_from(["1.1", "1.1", "1.1", "1.0"]),
)


class RoutesTests(SynchronousTestCase):
    """L{Routes}, with and without its short cut."""

    def results(self, requests: list[bytes], short_cut: bool) -> object:
        """Return all that requests change: their responses, and what the API saw."""
        sample = SampleSite()
        if not short_cut:
            sample.site.resource = sample.site.resource.rest
        caller = sample.connect()
        for request in requests:
            caller.send(request)
        caller.hang_up()
        for waiting in sample.api.waiting:
            if not waiting.called:
                waiting.callback({})
        metrics = Metrics()
        sample.site.request_metrics.expose(metrics)
        counted = [line for line in metrics.exposition().splitlines() if b"confd_http" in line]
        sent = re.sub(rb"\r\nDate: [^\r]*|[0-9a-f]{16}", b"", bytes(caller.wire.sent))
        audit_log = [(attempt.action, attempt.target, str(error)) for attempt, error in sample.auditor.audit_log]
        logged = [failure.getErrorMessage() for failure in self.flushLoggedErrors()]
        return sent, counted, sample.api.seen, sample.api.documents, audit_log, logged

    @given(st.lists(REQUESTS, min_size=1, max_size=3))
    def test_dictionary_and_klein_find_the_same_endpoints(self, requests: list[bytes]) -> None:
        self.assertEqual(self.results(requests, True), self.results(requests, False))

    def test_dictionary_finds_every_path_without_variables_and_only_whole_paths(self) -> None:
        sample = SampleSite()
        sample.site.resource.rest = notFound()
        asked = [(declared.method, declared.path) for declared, _ in endpoints_of(sample.api)]
        spelled_otherwise = ["/open/", "/op%65n", "/open;y", "/OPEN", "/open%20"]
        for method, path in [*asked, *(("GET", path) for path in spelled_otherwise)]:
            caller = sample.connect()
            caller.ask(method, path)
            left_to_klein = b"text/html" in caller.wire.sent
            self.assertEqual(left_to_klein, "<" in path or path in spelled_otherwise, path)
        self.flushLoggedErrors(ValueError)

    def test_routes_provide_iresource(self) -> None:
        routes = SampleSite().site.resource
        self.assertIsInstance(routes, Routes)
        verifyObject(IResource, routes)
        self.assertIs(routes.getChildWithDefault(b"x", None), routes)
