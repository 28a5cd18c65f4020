"""
Where the network ends and the handlers begin, and one way to answer.

L{Edge} reads the declarations of endpoints, puts them on one Klein application, and is the only code between a handler
and the network: it authenticates, limits, decodes, validates, encodes, and tells errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from attrs import define, field
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from confd import jsontext
from confd.audit import Attempt
from confd.model import DEFAULT_NAMESPACE, ConfdError, Document, TooLarge, UnsupportedType
from confd.web.endpoint import (
    HANDLED,
    JSON,
    Answer,
    AnyDocument,
    AnyQuery,
    Call,
    Endpoint,
    Handler,
    NamespaceQuery,
    endpoints_of,
)
from confd.web.errors import HEADERS, STATUS, error_body, from_routing
from confd.web.guard import NOBODY, IAuditor, Identity, IGuard, Role, allow
from confd.web.incoming import fit, glance, printable, read_document, read_header, read_object, read_query
from confd.web.ongoing import Ongoing
from confd.web.origin import same_origin

#: Characters of what an attempt was about, at most, that are put on record.
LONGEST_TARGET = 64

#: Bodies from here on are decoded off the reactor.
_LARGE_BODY = 32768


@define(eq=False)
class Edge:
    """
    Where the network ends and the handlers begin.

    @ivar guard: tells callers apart.
    @ivar in_thread: runs a function off the reactor, like C{deferToThread}.
    @ivar auditor: hears of refusals where changes are audited.
    """

    _guard: IGuard
    _in_thread: Callable[..., Deferred[Any]]
    _auditor: IAuditor | None = None
    _routes: Map = field(factory=Map, init=False)
    _declared: dict[str, Endpoint] = field(factory=dict, init=False)
    log: Logger = field(factory=Logger, init=False)

    def resource(self, *apis: object) -> IResource:
        """One resource that answers the endpoints of all C{apis}."""
        app = Klein()
        # A redirect to a tidier path would be an answer to somebody who has shown no credentials.
        app.url_map.merge_slashes = False
        for api in apis:
            for declared, handler in endpoints_of(api):
                self._add(app, declared, handler)
        app.handle_errors(HTTPException)(_misrouted)
        self._routes = app.url_map
        resource: IResource = app.resource()
        return resource

    def _add(self, app: Klein, declared: Endpoint, handler: Handler) -> None:
        def serve(request: Any, **parts: Any) -> Deferred[Ongoing | None]:
            request.route = declared.path
            return Deferred.fromCoroutine(self._serve(request, declared, handler, parts))

        name = f"{declared.method} {declared.path}"
        self._declared[name] = declared
        app.route(declared.path, methods=[declared.method], endpoint=name)(serve)

    def oversized(self, request: Any) -> None:
        """A site has refused a body before anybody was asked whose it is; that is told like any refusal."""
        try:
            path = unquote(request.uri.partition(b"?")[0])
            name, parts = self._routes.bind("").match(path, request.method.decode("latin-1"))
        except HTTPException:
            return
        declared, identity = self._declared[name], NOBODY
        if self._auditor is None or not declared.audited:
            return
        error: ConfdError = TooLarge("body_too_large", "The body is larger than the site takes.")
        try:
            identity = self._guard.identify(request)
            allow(identity, declared.role, declared.reads)
        except ConfdError as turned_away:
            error = turned_away
        self._auditor.refused(_attempt(request, declared, parts, identity, None, self._auditor.now()), error)

    async def _serve(
        self, request: Any, declared: Endpoint, handler: Callable[..., Any], parts: dict[str, Any]
    ) -> Ongoing | None:
        # What a client that hangs up cannot cancel: Klein cancels the handler then, which would leave a change that is
        # committed and never announced.
        work = Deferred.fromCoroutine(self._work(request, declared, handler, parts))
        try:
            result = await (work if declared.reads else self._detached(work))
        except ConfdError as error:
            answer = _refusal(error, request.id)
        else:
            if isinstance(result, Ongoing):
                return result
            answer = result if isinstance(result, Answer) else Answer(jsontext.encode(result))
        if answer is not HANDLED:
            _write(request, answer)
        return None

    async def _work(self, request: Any, declared: Endpoint, handler: Callable[..., Any], parts: dict[str, Any]) -> Any:
        """What the handler returns, once everything is right that must be before it is asked."""
        auditor = self._auditor if declared.audited else None
        identity, body, document, attempt = NOBODY, None, None, None
        try:
            if declared.role is not Role.ANYONE:
                identity = self._guard.identify(request)
                allow(identity, declared.role, declared.reads)
            if not declared.reads:
                same_origin(request)
            query = AnyQuery() if declared.query is AnyQuery else read_query(request.uri, declared.query)
            body, document = await self._body(request, declared)
            if auditor is not None:
                attempt = _attempt(request, declared, parts, identity, body, auditor.now())
            return await handler(Call(request, identity, query, body, document, request.id, attempt), **parts)
        except Exception as error:
            if auditor is not None:
                attempt = attempt or _attempt(request, declared, parts, identity, body, auditor.now())
                auditor.refused(attempt, error)
            raise

    async def _body(self, request: Any, declared: Endpoint) -> tuple[Any, Document | None]:
        if declared.reads:
            return None, None
        raw = request.content.read()
        kind = (read_header(request, "Content-Type") or "").partition(";")[0].strip().lower()
        needed = declared.body is not None and (raw or not declared.optional_body)
        # What no body is needed for must be no form all the same: any page may have a browser send one.
        if kind != JSON and (kind or needed):
            raise UnsupportedType("not_json", f"Send the body as JSON, with Content-Type: {JSON}.")
        if declared.body is None:
            return None, None
        if declared.max_body is not None and len(raw) > declared.max_body:
            raise TooLarge("body_too_large", f"The body is larger than {declared.max_body} bytes.")
        read = read_document if isinstance(declared.body, AnyDocument) else read_object
        if not raw and declared.optional_body:
            raw = b"{}"
        value, document = read(raw) if len(raw) < _LARGE_BODY else await self._in_thread(read, raw)
        return (value if document is not None else fit(value, declared.body, strict=True)), document

    def _detached(self, work: Deferred[Any]) -> Deferred[Any]:
        """What a client that hangs up cannot cancel, as Klein would."""
        waiting: Deferred[Any] = Deferred()

        def done(result: Any) -> None:
            if not waiting.called:
                waiting.callback(result)
            elif isinstance(result, Failure) and not result.check(ConfdError):
                self.log.failure("a request whose caller had hung up failed", result)

        work.addBoth(done)
        return waiting


def _attempt(
    request: Any, declared: Endpoint, parts: Mapping[str, str], identity: Identity, body: Any, now: datetime
) -> Attempt:
    if parts:
        target = "/".join(map(str, parts.values()))
    elif declared.named_by:
        target = str(getattr(body, declared.named_by, ""))
    elif issubclass(declared.query, NamespaceQuery):
        target = glance(request.uri, "namespace", DEFAULT_NAMESPACE)
    else:
        target = ""
    peer = getattr(request.getClientAddress(), "host", "unix")
    action = f"{declared.method} {declared.path}"
    return Attempt(identity.name, peer, action, printable(target, LONGEST_TARGET), request.id, now)


def _refusal(error: ConfdError, request_id: str) -> Answer:
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers = next((HEADERS[kind] for kind in type(error).__mro__ if kind in HEADERS), {})
    return Answer(error_body(error.code, error.message, request_id, error.details), status, headers)


def _misrouted(request: Any, failure: Failure) -> Deferred[None] | None:
    status, told, headers = from_routing(failure.value)
    _write(request, Answer(error_body(told.code, told.message, request.id), status, headers))
    return None


def _write(request: Any, answer: Answer) -> None:
    """Put an answer on the request, and Klein finishes it; where another one has begun, break that off."""
    if request.startedWriting:
        request.break_off()
        return
    request.setResponseCode(int(answer.status), HTTPStatus(answer.status).phrase.encode())
    for name, value in answer.headers.items():
        request.setHeader(name, value)
    if int(answer.status) not in (204, 304):
        request.setHeader("Content-Type", answer.content_type)
        request.setHeader("Content-Length", str(len(answer.body)))
        request.write(answer.body)
