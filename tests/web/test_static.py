"""Tests of L{confd.web.static}."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.offload import Offload
from confd.web.auth.principals import Permission
from confd.web.static import MAX_PIECE_BYTES, POLICY, SEND_TIMEOUT_SECONDS, Assets
from tests.conversation import Conversation, serve
from tests.web.sample_api import ADMIN, AGENT, AUTH

T = TypeVar("T")

PACKAGE = "confd.web.openapi.swagger"

PATHS = {"/": "index.html", "/x/start.js": "start.js", "/x/large.js": "swagger-ui-bundle.js"}

LARGE = files(PACKAGE).joinpath("swagger-ui-bundle.js").read_bytes()


class AssetsTests(SynchronousTestCase):
    """L{Assets}, with three files for admins."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.work: list[object] = []
        assets = Assets(self.clock, Offload(self.in_thread), PACKAGE, PATHS, Permission.ADMIN)
        self.site = serve(self.clock, AUTH, assets)
        self.caller = Conversation(self.site, self.clock)

    def in_thread(self, work: Callable[..., T], *arguments: object) -> Deferred[T]:
        """Note the work, and run it at once."""
        self.work.append(work)
        return maybeDeferred(work, *arguments)

    def test_files_are_read_in_a_thread_for_the_first_request_that_may_read_them(self) -> None:
        self.caller.get("/")
        self.assertEqual(self.work, [])
        for path in (*PATHS, *PATHS):
            self.assertEqual(self.caller.get(path, auth=ADMIN).status, 200)
        self.assertEqual(len(self.work), 1)

    def test_file_has_its_type_policy_and_caching_headers(self) -> None:
        reply = self.caller.get("/", auth=ADMIN)
        self.assertEqual(reply.body, files(PACKAGE).joinpath("index.html").read_bytes())
        self.assertEqual(reply.headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(reply.headers["content-security-policy"], POLICY)
        self.assertEqual(reply.headers["x-content-type-options"], "nosniff")
        self.assertEqual(reply.headers["cache-control"], "no-cache")
        self.assertRegex(reply.headers["etag"], r'\A"[0-9a-f]{32}"\Z')
        script = self.caller.get("/x/start.js?whatever", auth=ADMIN)
        self.assertEqual(script.headers["content-type"], "text/javascript; charset=utf-8")

    def test_known_etag_gets_304(self) -> None:
        etag = self.caller.get("/", auth=ADMIN).headers["etag"]
        for known, status in ((etag, 304), (f'W/{etag}, "x"', 304), ("*", 304), ('"x"', 200), ("", 200)):
            reply = self.caller.get("/", auth=ADMIN, headers={"If-None-Match": known})
            self.assertEqual((reply.status, reply.headers["etag"]), (status, etag), known)
            self.assertEqual(reply.headers["cache-control"], "no-cache")

    def test_file_needs_its_role(self) -> None:
        for path in PATHS:
            self.assertEqual(self.caller.get(path).status, 401)
            self.assertEqual(self.caller.get(path, auth=AGENT).status, 403)

    def test_other_paths_get_404(self) -> None:
        for path in (
            "/x",
            "/x/",
            "/x/index.html",
            "/index.html",
            "/x/NOTICE",
            "/x/%2e%2e%2f__init__.py",
            "/x/start.js/",
        ):
            self.assertIn(self.caller.get(path, auth=ADMIN).status, (400, 404), path)
            self.caller = Conversation(self.site, self.clock)

    def test_large_file_arrives_whole_and_keeps_the_connection(self) -> None:
        reply = self.caller.get("/x/large.js", auth=ADMIN)
        self.assertEqual(reply.body, LARGE)
        self.assertEqual(reply.headers["content-length"], str(len(LARGE)))
        head = self.caller.request("HEAD", "/x/large.js", auth=ADMIN)
        self.assertEqual((head.headers["content-length"], head.body), (str(len(LARGE)), b""))
        self.assertEqual(self.caller.get("/", auth=ADMIN).status, 200)

    def test_stalled_reader_costs_one_piece_and_resumes(self) -> None:
        self.caller.wire.stall()
        self.caller.ask("GET", "/x/large.js", auth=ADMIN)
        self.assertLess(len(self.caller.wire.unsent), 2 * MAX_PIECE_BYTES)
        self.clock.advance(SEND_TIMEOUT_SECONDS / 2)
        self.caller.wire.flow()
        self.clock.advance(0)
        reply = self.caller.answer()
        assert reply is not None
        self.assertEqual(reply.body, LARGE)

    def test_stalled_reader_is_aborted_and_leaves_nothing(self) -> None:
        self.caller.wire.stall()
        self.caller.ask("GET", "/x/large.js", auth=ADMIN)
        self.clock.advance(SEND_TIMEOUT_SECONDS)
        self.clock.advance(0)
        self.assertTrue(self.caller.wire.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hang_up_leaves_nothing(self) -> None:
        self.caller.wire.stall()
        self.caller.ask("GET", "/x/large.js", auth=ADMIN)
        self.caller.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
