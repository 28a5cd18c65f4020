"""A controller and a worker to test the agent against: as objects, and the Go system's as real HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.web.resource import Resource
from zope.interface import implementer

from confd import jsontext
from confd.interfaces import IControllerClient, IWorkerClient
from confd.model import (
    ConfdError,
    Configuration,
    Conflict,
    Membership,
    Registration,
    Served,
    Tag,
    Unavailable,
    Unprocessable,
    WorkerState,
    supersedes,
)
from confd.signing import SigningKey

#: What the fake controller signs with.
KEY = SigningKey.generate()

CLUSTER = "1a2b3c4d-0000-4000-8000-000000000001"
OTHER_CLUSTER = "99999999-0000-4000-8000-000000000002"
AGENT_ID = "5d1c1c5e-0000-4000-8000-00000000000a"


def configuration(version: int, **changes: Any) -> Configuration:
    """Version C{version} of a document that names it, in the cluster L{CLUSTER}."""
    data = changes.pop("data", {"url": f"https://example.org/{version}"})
    made = Configuration(
        cluster_id=CLUSTER,
        epoch=1,
        version=version,
        namespace="default",
        document=jsontext.document(data),
        poll_interval=30,
        updated_at=datetime(2026, 11, 1, tzinfo=UTC),
    )
    return evolve(made, **changes)


@implementer(IControllerClient)
@define(eq=False)
class FakeController:
    """
    Serves what it is given.

    @ivar in_force: what it serves.
    @ivar failure: what it fails with instead, if anything.
    @ivar hung: whether it answers at all; L{waiting} holds what it owes.
    """

    in_force: Configuration | None = None
    failure: ConfdError | None = None
    hung: bool = False
    poll_interval: int = 30
    registrations: list[Registration] = field(factory=list)
    polls: list[tuple[Tag | None, str]] = field(factory=list)
    waiting: list[Deferred[Any]] = field(factory=list)
    streams: list[tuple[Tag | None, Callable[[bytes], None], Deferred[None]]] = field(factory=list)

    def register(self, registration: Registration) -> Deferred[Membership]:
        """Give it an id, or its own again."""
        self.registrations.append(registration)
        return self._answer(lambda: Membership(registration.agent_id or AGENT_ID, self.poll_interval))

    def fetch(self, known: Tag | None, agent_id: str) -> Deferred[Served | None]:
        """What is in force, unless it is known."""
        self.polls.append((known, agent_id))
        return self._answer(self._current, known)

    def stream(self, known: Tag | None, agent_id: str, received: Callable[[bytes], None]) -> Deferred[None]:
        """A stream that ends when the test fires what it finds in L{streams}."""
        self.streams.append((known, received, Deferred()))
        return self.streams[-1][2] if self.failure is None else fail(self.failure)

    def _current(self, known: Tag | None) -> Served | None:
        if self.in_force is None:
            raise Unavailable("starting", "The controller is starting.")
        return None if self.in_force.tag == known else Served(self.in_force, (KEY.public,))

    def _answer(self, answer: Callable[..., Any], *args: Any) -> Deferred[Any]:
        if self.hung:
            self.waiting.append(Deferred())
            return self.waiting[-1]
        if self.failure is not None:
            return fail(self.failure)
        try:
            return succeed(answer(*args))
        except ConfdError as error:
            return fail(error)


@implementer(IWorkerClient)
@define(eq=False)
class FakeWorker:
    """
    Takes configurations as confd's worker does.

    @ivar deliveries: everything that was offered to it.
    @ivar refuses: versions that it cannot use.
    @ivar lies: it says that it took what it did not.
    @ivar hung: whether it answers at all; L{waiting} holds what it owes, as functions.
    @ivar blind: it has no GET C{/config}, no versions and no boot ids: a Go worker.
    """

    in_force: Configuration | None = None
    boot_id: str = "boot-1"
    down: bool = False
    hung: bool = False
    lies: bool = False
    blind: bool = False
    refuses: set[int] = field(factory=set)
    deliveries: list[Configuration] = field(factory=list)
    checks: int = 0
    waiting: list[Callable[[], None]] = field(factory=list)

    def deliver(self, configuration: Configuration) -> Deferred[None]:
        """Take it, or say why not."""
        if not self.down:
            self.deliveries.append(configuration)
        return self._answer(self._take, configuration)

    def checksum(self) -> Deferred[str | None]:
        """Of what is in force."""
        return self._answer(self._checksum)

    def state(self) -> Deferred[WorkerState]:
        """What C{/health} says."""
        self.checks += 1
        return self._answer(self._state)

    def restart(self, boot_id: str) -> None:
        """Come back with nothing."""
        self.in_force, self.boot_id, self.down = None, boot_id, False

    def resume(self) -> None:
        """Answer what was asked while it hung, and from now on."""
        self.hung = False
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer()

    def _take(self, configuration: Configuration) -> None:
        if configuration.version in self.refuses:
            raise Unprocessable("bad_config", "I cannot use this.")
        if self.in_force is not None and not self.blind and supersedes(self.in_force.tag, configuration.tag):
            raise Conflict("older_version", "I have a newer one.")
        if not self.lies:
            self.in_force = configuration

    def _checksum(self) -> str | None:
        if self.blind:
            return None
        return "" if self.in_force is None else self.in_force.document.checksum

    def _state(self) -> WorkerState:
        if self.blind:
            return WorkerState(self.in_force is not None)
        version = None if self.in_force is None else str(self.in_force.tag)
        return WorkerState(self.in_force is not None, version, self.boot_id)

    def _answer(self, answer: Callable[..., Any], *args: Any) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()

        def now() -> None:
            if deferred.called:
                return
            try:
                if self.down:
                    raise Unavailable("unreachable", "The worker cannot be reached.")
                deferred.callback(answer(*args))
            except ConfdError as error:
                deferred.errback(error)

        if self.hung:
            self.waiting.append(now)
        else:
            now()
        return deferred


class GoController(Resource):
    """The Go controller over HTTP: no identity, no 304, no namespaces."""

    isLeaf = True

    def __init__(self, version: int, data: object) -> None:
        super().__init__()
        self.version, self.data = version, data
        self.requests: list[tuple[bytes, bytes, dict[bytes, Any]]] = []

    def render(self, request: Any) -> bytes:
        """Answer as gin does."""
        self.requests.append((request.method, request.uri, dict(request.requestHeaders.getAllRawHeaders())))
        if request.getUser() != b"agent" or request.getPassword() != b"secret123":
            request.setResponseCode(401)
            return b'{"error":"Unauthorized"}'
        if (request.method, request.path) == (b"POST", b"/api/v1/register"):
            return _json(request, {"agent_id": AGENT_ID, "poll_url": "/api/v1/config", "poll_interval_seconds": 30})
        if (request.method, request.uri) == (b"GET", b"/api/v1/config"):
            request.setHeader("ETag", str(self.version))
            return _json(request, {"version": self.version, "data": self.data, "poll_interval_seconds": 30})
        request.setResponseCode(404)
        return b"404 page not found"


class GoWorker(Resource):
    """The Go worker over HTTP: no GET C{/config}, and nothing but C{has_config} in its health."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.config: Any = None
        self.posts: list[dict[bytes, Any]] = []

    def render(self, request: Any) -> bytes:
        """Answer as gin does."""
        if (request.method, request.path) == (b"POST", b"/config"):
            self.posts.append(dict(request.requestHeaders.getAllRawHeaders()))
            self.config = json.loads(request.content.read())
            return _json(request, {"message": "Configuration updated"})
        if (request.method, request.path) == (b"GET", b"/health"):
            return _json(request, {"status": "ok", "has_config": self.config is not None})
        request.setResponseCode(404)
        request.setHeader("Content-Type", "text/plain")
        return b"404 page not found"


def _json(request: Any, value: object) -> bytes:
    request.setHeader("Content-Type", "application/json; charset=utf-8")
    return json.dumps(value).encode()
