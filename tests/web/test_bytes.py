"""Any bytes in any pieces get a well-formed response or none, and never an internal error."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.web.server.site import Limits
from tests.conversation import Reply
from tests.web.sample_api import ADMIN, AGENT, SampleSite

LIMITS = Limits(body=2000)


def _request(method: str, path: str, headers: dict[str, str], body: bytes, chunked: bool) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {text}" for name, text in headers.items())]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


REQUESTS = st.builds(
    _request,
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "TRACE"]),
    st.sampled_from(
        ["/open", "/wish", "/document", "/fail/Conflict", "/nowhere", "/nothing", "/bytes/3", "/wish?limit=3"]
    ),
    st.dictionaries(
        st.sampled_from(["Content-Type", "Expect", "X-A", "Connection", "Authorization", "If-None-Match"]),
        st.sampled_from(
            ["application/json", "100-continue", "close", "keep-alive", "\xff", "", "Basic YWdlbnQ6c2VjcmV0MTIz"]
        ),
        max_size=4,
    ),
    st.sampled_from([b"", b"{}", b'{"name": "x"}', b"{", b"x" * 1999, b"x" * 2001, b"\xff\x00"]),
    st.booleans(),
)

#: Requests in a row, with here and there a byte that is wrong.
DAMAGE = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=3)


def _damaged(requests: list[bytes], damage: list[tuple[int, bytes]]) -> bytes:
    raw = b"".join(requests)
    for position, rubbish in damage:
        raw = raw[:position] + rubbish + raw[position + len(rubbish) :]
    return raw


def _shape(reply: Reply) -> tuple[object, ...]:
    """Return the parts of a reply that are the same each time."""
    stable = {name: text for name, text in reply.headers.items() if name not in ("x-request-id", "date")}
    body = reply.json | {"request_id": ""} if reply.body.startswith(b'{"error"') else reply.body[:12]
    return reply.status, stable, body, reply.whole


class BytesTests(SynchronousTestCase):
    """A site that serves the sample API."""

    def converse(self, raw: bytes, cuts: list[int]) -> list[tuple[object, ...]]:
        """Send bytes in pieces, and return the shapes of the replies."""
        sample = SampleSite(LIMITS)
        caller = sample.connect()
        connection_limits = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
        for start, end in pairwise(connection_limits):
            caller.send(raw[start:end])
        shapes = [_shape(reply) for reply in caller.replies()]
        self.assertEqual(self.flushLoggedErrors(), [])
        caller.hang_up()
        self.assertEqual(sample.clock.getDelayedCalls(), [])
        return shapes

    @given(
        st.lists(REQUESTS.filter(lambda raw: not raw.startswith(b"HEAD")), min_size=1, max_size=4),
        DAMAGE,
        st.lists(st.integers(0, 2000), max_size=6),
    )
    def test_pieces_of_requests_make_no_difference(
        self, requests: list[bytes], damage: list[tuple[int, bytes]], cuts: list[int]
    ) -> None:
        raw = _damaged(requests, damage)
        self.assertEqual(self.converse(raw, cuts), self.converse(raw, []))

    @given(st.lists(REQUESTS.filter(lambda raw: not raw.startswith(b"HEAD")), min_size=1, max_size=2))
    def test_single_bytes_make_no_difference(self, requests: list[bytes]) -> None:
        raw = b"".join(requests)
        self.assertEqual(self.converse(raw, list(range(len(raw)))), self.converse(raw, []))

    @given(
        st.lists(
            st.binary(max_size=300) | st.sampled_from([b"\r\n", b"GET /open HTTP/1.1\r\n", b"Host: h\r\n"]), max_size=6
        )
    )
    @example([b"\r\n"])
    @example([bytes(range(256))])
    def test_rubbish_is_refused_once_or_waited_for(self, pieces: list[bytes]) -> None:
        shapes = self.converse(b"".join(pieces), [])
        self.assertLessEqual([shape[0] for shape in shapes if shape[0] != 200], [400])

    def test_truncated_request_is_never_served(self) -> None:
        sample = SampleSite()
        whole = sample.connect()
        whole.post("/wish", json={"name": "x"}, auth=AGENT)
        for auth in (AGENT, ADMIN):
            caller = sample.connect()
            caller.ask("POST", "/wish", body=b'{"name": "x"', headers={"Content-Length": "13"}, auth=auth)
            self.assertEqual(caller.replies(), [])
            caller.hang_up()
