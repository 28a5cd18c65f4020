"""An API with one of each kind of endpoint, and a site that serves it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from confd import errors
from confd.audit import Attempt
from confd.web.api.endpoint import ANYONE, Answer, AnyDocument, AnyQuery, Call, NamespaceQuery, endpoint
from confd.web.auth.basic import BasicAuth, Credential, IAuditor
from confd.web.auth.principals import POLL, Permission, Role
from confd.web.server.refusal import SECURITY_HEADERS
from confd.web.server.site import BoundedSite, Limits
from tests.conversation import Conversation, Reply, serve

ADMIN, AGENT = ("admin", "admin:pässword"), ("agent", "secret123")

AUTH = BasicAuth([Credential.of(*AGENT, Role.AGENT), Credential.of(*ADMIN, Role.ADMIN)])

SMALL = Limits(
    body=100_000, header_seconds=10, body_seconds=30, idle_seconds=40, linger_seconds=1, drain_seconds=10, connections=3
)

HEAD = b"GET /open HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /document HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

#: What no answer may hold.
CANARY = "canary-7f3a"


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST C{/wish}."""

    name: str
    count: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    tags: list[str] = []


class Page(NamespaceQuery, forbid_unknown_fields=True):
    """The query of GET C{/wish}."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


class SampleApi:
    """
    Answers at once, later, or with an error.

    @ivar waiting: the L{Deferred}s that the handlers of C{/later} wait for, in order.
    @ivar seen: what each of them came to.
    @ivar attempts: the attempts of the handlers that record them.
    @ivar documents: the length of C{a} in each document that came to C{/document}.
    """

    def __init__(self) -> None:
        self.waiting: list[Deferred[object]] = []
        self.seen: list[str] = []
        self.documents: list[int] = []
        self.attempts: list[Attempt | None] = []

    @endpoint("GET", "/open", ANYONE, "For anyone.", query=AnyQuery)
    async def open(self, call: Call) -> object:
        return {"who": call.principal.name, "request_id": call.request_id}

    @endpoint("GET", "/wish", POLL, "For agents, and admins.", query=Page)
    async def publish_options(self, call: Call) -> object:
        return {"who": call.principal.name, "limit": call.query.limit, "namespace": call.query.namespace}

    @endpoint("POST", "/wish", Permission.AGENT_SERVE, "For agents only.", body=Wish)
    async def wish(self, call: Call) -> object:
        return {"name": call.body.name, "count": call.body.count}

    @endpoint("POST", "/document", Permission.ADMIN, "For admins only.", body=AnyDocument.OBJECT, max_body=None)
    async def document(self, call: Call) -> object:
        self.documents.append(len(str(call.body.get("a"))))
        return {"keys": len(call.body)}

    @endpoint("POST", "/maybe", Permission.ADMIN, "With or without a body.", body=Wish, optional_body=True)
    async def maybe(self, call: Call) -> object:
        return {"name": call.body.name}

    @endpoint("GET", "/later", ANYONE, "A read that waits.", query=AnyQuery)
    async def read_later(self, call: Call) -> object:
        return await self._later("read")

    @endpoint("POST", "/later", Permission.ADMIN, "A write that waits.", query=AnyQuery)
    async def write_later(self, call: Call) -> object:
        return await self._later("write")

    @endpoint("DELETE", "/things/<kind>/<name>", Permission.ADMIN, "Fails.")
    async def remove(self, call: Call, kind: str, name: str) -> object:
        self.attempts.append(call.attempt)
        error: type[Exception] = getattr(errors, kind, ValueError)
        raise error("some_code", CANARY) if kind != "ValueError" else error(CANARY)

    @endpoint("POST", "/names", Permission.ADMIN, "Makes something.", query=NamespaceQuery, body=Wish, named_by="name")
    async def name(self, call: Call) -> object:
        self.attempts.append(call.attempt)
        return {"name": call.body.name}

    @endpoint("POST", "/targets", Permission.ADMIN, "Concerns a namespace.", query=NamespaceQuery)
    async def target(self, call: Call) -> object:
        return {}

    async def _later(self, kind: str) -> object:
        wait: Deferred[object] = Deferred()
        self.waiting.append(wait)
        try:
            result = await wait
        except BaseException as error:
            self.seen.append(f"{kind}: {type(error).__name__}")
            raise
        self.seen.append(f"{kind}: done")
        return result

    @endpoint("GET", "/fail/<kind>", ANYONE, "Fails.", query=AnyQuery)
    async def fail(self, call: Call, kind: str) -> object:
        error = getattr(errors, kind, None)
        if error is None:
            raise ValueError(f"{CANARY}: {kind}")
        raise error("some_code", "It cannot be done.", [{"pointer": "/x", "message": "no"}])

    @endpoint("GET", "/bytes/<count>", ANYONE, "So many bytes.", query=AnyQuery)
    async def bytes(self, call: Call, count: str) -> Answer:
        return Answer(b"x" * int(count), content_type="text/plain")

    @endpoint("GET", "/half", ANYONE, "Begins an answer and fails.", query=AnyQuery)
    async def half(self, call: Call) -> Answer:
        call.request.write(b"the first half")
        raise ValueError(CANARY)

    @endpoint("GET", "/nothing", ANYONE, "304.", query=AnyQuery)
    async def nothing(self, call: Call) -> Answer:
        return Answer(status=304, headers={"ETag": '"1"'})


@implementer(IAuditor)
class RecordingAuditor:
    """
    Records refused changes.

    @ivar audit_log: each attempt with its error.
    """

    def __init__(self) -> None:
        self.audit_log: list[tuple[Attempt, Exception]] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    def refused(self, attempt: Attempt, error: Exception) -> None:
        self.audit_log.append((attempt, error))


class SampleSite:
    """A site that serves a L{SampleApi}, with its clock, its auditor, and connections to it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.api = SampleApi()
        self.auditor = RecordingAuditor()
        self.site: BoundedSite = serve(self.clock, AUTH, self.api, limits=limits, auditor=self.auditor)

    def connect(self) -> Conversation:
        """Return a new connection."""
        return Conversation(self.site, self.clock)


class SiteCase(SynchronousTestCase):
    """A site with small limits, and one connection to it."""

    def setUp(self) -> None:
        self.sample = SampleSite(SMALL)
        self.caller = self.sample.connect()

    def advance(self, seconds: float) -> None:
        """Let time pass, in small steps, so that nothing comes late."""
        for _ in range(int(seconds * 4)):
            self.sample.clock.advance(0.25)

    def only_reply(self, caller: Conversation | None = None) -> Reply:
        """Return the only reply, and check that no other can follow."""
        caller = caller or self.caller
        [reply] = caller.replies()
        self.assertTrue(caller.wire.ended or caller.wire.disconnecting)
        caller.send(HEAD + b"\r\n")
        self.assertEqual(len(caller.replies()), 1)
        return reply

    def refused(self, status: int, code: str) -> Reply:
        """Check that the connection ended with this refusal, and left nothing behind."""
        reply = self.only_reply()
        self.assertEqual((reply.status, reply.code), (status, code))
        self.assertEqual(reply.headers["connection"], "close")
        self.assertEqual(reply.headers["x-request-id"], reply.json["request_id"])
        self.assertIn("date", reply.headers)
        for name, value in SECURITY_HEADERS.items():
            self.assertEqual(reply.headers[name.lower()], value)
        self.advance(SMALL.linger_seconds)
        self.assertTrue(self.caller.closed)
        self.assertEqual(self.sample.clock.getDelayedCalls(), [])
        return reply
