"""Fakes of the peers of an agent: controller and worker as objects, and those of the Go system over HTTP."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.web.resource import Resource
from zope.interface import implementer

from confd.codec import strict_json
from confd.codec.signing import SigningKey
from confd.errors import ConfdError, Conflict, NotFound, Unavailable, Unprocessable
from confd.interfaces import IControllerClient, IWorkerClient
from confd.model import (
    Configuration,
    Delivered,
    Poll,
    Registration,
    RegistrationResponse,
    ServedConfig,
    Tag,
    WorkerState,
    supersedes,
)
from confd.reports import Report

#: What the fake controller signs with.
KEY = SigningKey.generate()

CLUSTER = "1a2b3c4d-0000-4000-8000-000000000001"
OTHER_CLUSTER = "99999999-0000-4000-8000-000000000002"
AGENT_ID = "5d1c1c5e-0000-4000-8000-00000000000a"


def configuration(version: int, **changes: Any) -> Configuration:
    """Return version C{version} in the cluster L{CLUSTER}; the document contains the version."""
    data = changes.pop("data", {"url": f"https://example.org/{version}"})
    made = Configuration(
        cluster_id=CLUSTER,
        epoch=1,
        version=version,
        namespace="default",
        document=strict_json.document(data),
        poll_interval=30,
        updated_at=datetime(2026, 11, 1, tzinfo=UTC),
    )
    return evolve(made, **changes)


@define(eq=False)
class HeldThreads:
    """
    Stand in for C{deferToThread}: hold each call until L{run}.

    @ivar held: the calls that have not run.
    """

    held: deque[tuple[Deferred[Any], Callable[[], Any]]] = field(factory=deque)

    def __call__(self, work: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        self.held.append((Deferred(), partial(work, *arguments)))
        return self.held[-1][0]

    def run(self) -> None:
        """Run the oldest call."""
        ended, work = self.held.popleft()
        execute(work).chainDeferred(ended)

    def run_all(self) -> int:
        """Run the calls, also those that are made meanwhile; return how many."""
        count = 0
        while self.held:
            self.run()
            count += 1
        return count


@implementer(IControllerClient)
@define(eq=False)
class FakeController:
    """
    Serves what it is given.

    @ivar current: what it serves.
    @ivar failure: what it fails with instead, if anything.
    @ivar hung: whether it answers at all; L{waiting} holds what it owes.
    @ivar slow: whether it answers reports; L{owed} are those that it has not answered.
    @ivar window: seconds over which reports are to be spread.
    @ivar members: whom it knows.
    @ivar presented: what the agent proves to be itself by, last.
    @ivar token: what it gives to those that register.
    @ivar attempts: the reports that came, and L{reports} those of them that it took.
    """

    current: Configuration | None = None
    failure: ConfdError | None = None
    hung: bool = False
    poll_interval: int = 30
    slow: bool = False
    window: float = 0.0
    presented: tuple[str, str] = ("", "")
    token: str = ""
    keys: tuple[SigningKey, ...] = (KEY,)
    members: set[str] = field(factory=set)
    attempts: list[Report] = field(factory=list)
    reports: list[Report] = field(factory=list)
    owed: list[tuple[Deferred[float], Report, str]] = field(factory=list)
    registrations: list[Registration] = field(factory=list)
    polls: list[tuple[Tag | None, str]] = field(factory=list)
    waiting: list[Deferred[Any]] = field(factory=list)
    streams: list[tuple[Tag | None, Callable[[bytes], Any], Deferred[None]]] = field(factory=list)

    def present(self, agent_id: str, token: str) -> None:
        """Store what the agent presents."""
        self.presented = agent_id, token

    def register(self, registration: Registration) -> Deferred[RegistrationResponse]:
        """Assign an id, or confirm the id of the agent."""
        self.registrations.append(registration)
        return self._answer(self._register, registration)

    def fetch(self, known: Tag | None, agent_id: str) -> Deferred[Poll]:
        """Return the current configuration, unless the agent has it."""
        self.polls.append((known, agent_id))
        return self._answer(self._current, known, agent_id)

    def report(self, report: Report, agent_id: str) -> Deferred[float]:
        """Store a report of a registered agent."""
        self.attempts.append(report)
        if self.slow:
            self.owed.append((Deferred(), report, agent_id))
            return self.owed[-1][0]
        return self._answer(self._take, report, agent_id)

    def settle(self) -> None:
        """Answer the held reports, and all later ones."""
        self.slow = False
        owed, self.owed = self.owed, []
        for answer, report, agent_id in owed:
            self._answer(self._take, report, agent_id).chainDeferred(answer)

    def stream(self, known: Tag | None, agent_id: str, received: Callable[[bytes], Any]) -> Deferred[None]:
        """Open a stream; it ends when the test fires its Deferred in L{streams}."""
        self.streams.append((known, received, Deferred()))
        return self.streams[-1][2] if self.failure is None else fail(self.failure)

    def _register(self, registration: Registration) -> RegistrationResponse:
        agent_id = registration.agent_id or AGENT_ID
        self.members.add(agent_id)
        return RegistrationResponse(agent_id, self.poll_interval, self.window, self.token)

    def _current(self, known: Tag | None, agent_id: str) -> Poll:
        if self.current is None:
            raise Unavailable("starting", "The controller is starting.")
        served = (
            None if self.current.tag == known else ServedConfig(self.current, tuple(key.public for key in self.keys))
        )
        key_ids = ",".join(key.key_id for key in self.keys)
        return Poll(served, not agent_id or agent_id in self.members, self.current.document.checksum, key_ids)

    def _take(self, report: Report, agent_id: str) -> float:
        if agent_id not in self.members:
            raise NotFound("unknown_agent", "There is no such agent.")
        if any(each.session == report.session and each.sequence >= report.sequence for each in self.reports[-1:]):
            raise Conflict("repeated_report", "It was taken before.")
        self.reports.append(report)
        return self.window

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
    @ivar hung_at_delivery: whether it answers what is brought to it.
    @ivar hung_at_read_back: whether it answers when asked for its document; L{read_backs} counts these requests.
    @ivar loses_answers: it takes what is brought to it, and the connection breaks before its answer.
    @ivar nameless: it does not say what the configuration that it has is named.
    @ivar named: by what name it got what it has, if not by its own; empty for none.
    @ivar unreadable: it cannot be asked for the document that it has.
    @ivar tells: its answer to a delivery holds the document that it then has.
    @ivar blind: it has no GET C{/config}, no versions and no boot ids: a Go worker.
    """

    current: Configuration | None = None
    boot_id: str = "boot-1"
    down: bool = False
    hung: bool = False
    hung_at_delivery: bool = False
    hung_at_read_back: bool = False
    loses_answers: bool = False
    nameless: bool = False
    named: str | None = None
    lies: bool = False
    blind: bool = False
    unreadable: bool = False
    tells: bool = False
    refuses: set[int] = field(factory=set)
    deliveries: list[Configuration] = field(factory=list)
    checks: int = 0
    read_backs: int = 0
    waiting: list[Callable[[], None]] = field(factory=list)

    def deliver(self, configuration: Configuration) -> Deferred[Delivered]:
        """Accept or refuse a configuration."""
        if not self.down:
            self.deliveries.append(configuration)
        return self._answer(self._take, configuration, hung=self.hung_at_delivery).addCallback(self._lose)

    def _lose(self, answer: None) -> Delivered:
        if self.loses_answers:
            raise Unavailable("unreachable", "The connection broke before the answer.")
        return Delivered(self._checksum() if self.tells and not self.unreadable else None)

    def checksum(self) -> Deferred[str | None]:
        """Return the checksum of the current document."""
        self.read_backs += 1
        return self._answer(self._checksum, hung=self.hung_at_read_back)

    def state(self) -> Deferred[WorkerState]:
        """Return the state, as C{/health} does."""
        self.checks += 1
        return self._answer(self._state)

    def tamper(self, tag: Tag | None, like: Configuration | None = None) -> None:
        """Let another sender deliver a document, or that of C{like}, with a tag or without one."""
        data = {"url": f"https://tampered.example/{tag}/{len(self.deliveries)}"}
        self.current = like or configuration(1, document=strict_json.document(data))
        self.named = "" if tag is None else str(tag)

    def restart(self, boot_id: str) -> None:
        """Restart without a document."""
        self.current, self.named, self.boot_id, self.down = None, None, boot_id, False

    def resume(self) -> None:
        """Answer the held requests, and all later ones."""
        self.hung = False
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer()

    def _take(self, configuration: Configuration) -> None:
        if configuration.version in self.refuses:
            raise Unprocessable("bad_config", "I cannot use this.")
        there = self._version()
        if there is not None and supersedes(Tag.parse(there), configuration.tag):
            raise Conflict("older_version", "I have a newer one.")
        if there == str(configuration.tag) and self.current is not None and self.current != configuration:
            raise Conflict("other_content", "I have another one of that name.")
        if not self.lies:
            self.current, self.named = configuration, None

    def _checksum(self) -> str | None:
        if self.blind:
            return None
        if self.unreadable:
            raise Unavailable("unexpected_answer", "The worker answers 500.")
        return "" if self.current is None else self.current.document.checksum

    def _state(self) -> WorkerState:
        return WorkerState(self.current is not None, self._version(), "" if self.blind else self.boot_id)

    def _version(self) -> str | None:
        if self.current is None or self.blind or self.nameless:
            return None
        return (str(self.current.tag) if self.named is None else self.named) or None

    def _answer(self, answer: Callable[..., Any], *args: Any, hung: bool = False) -> Deferred[Any]:
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

        if self.hung or hung:
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
