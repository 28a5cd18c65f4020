"""
The only code between a handler and the network.

L{Dispatcher} makes routes of the declarations of endpoints. It authenticates, limits, decodes and validates requests,
calls their handlers, and encodes the responses and errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import cast

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from confd.access.break_glass import MAX_REASON
from confd.audit import Attempt
from confd.codec import strict_json
from confd.codec.text import printable
from confd.errors import ConfdError, Forbidden, Malformed, TooLarge, Unauthenticated, UnsupportedType
from confd.model import DEFAULT_NAMESPACE, Document
from confd.runtime.coroutines import begin
from confd.runtime.offload import Offload
from confd.web.api.endpoint import (
    ANYONE,
    HANDLED,
    JSON,
    Answer,
    AnyDocument,
    AnyQuery,
    Call,
    Endpoint,
    Handler,
    NamespaceQuery,
    Scope,
    endpoints_of,
)
from confd.web.api.errors import error_body, headers_of, status_of
from confd.web.api.parsing import convert, peek, read_document, read_header, read_object, read_query
from confd.web.api.places import IPlaces
from confd.web.api.routes import Routes
from confd.web.api.streaming import StreamingAnswer
from confd.web.auth.basic import IAuditor, IAuthenticator
from confd.web.auth.csrf import same_origin
from confd.web.auth.principals import NOBODY, NOWHERE, POLL, Permission, Place, Principal, allow, allow_somewhere
from confd.web.auth.sessions import PAGE_CHALLENGE, asked_by_page
from confd.web.auth.throttle import Allowance
from confd.web.server.request import BoundedRequest

_PHRASES = {int(status): status.phrase.encode() for status in HTTPStatus}
#: Python looks the members of an enumeration up with a function of its own each time.
_BODY, _QUERY, _TOKEN, _SOMEWHERE = Scope.BODY, Scope.QUERY, Scope.TOKEN, (Scope.BODY, Scope.ANY)

#: Characters of the target of an attempt that the audit log keeps.
MAX_TARGET_CHARS = 64


@define(eq=False)
class Dispatcher:
    """
    Routes each request to its handler, and answers it.

    @ivar guard: authenticates callers.
    @ivar offload: decodes large bodies in a thread.
    @ivar auditor: records refused changes; C{None} where changes are not audited.
    @ivar allowance: limits the audited changes of each identity; C{None} sets no limit.
    @ivar places: finds where requests act; C{None} where callers have their permissions in every namespace.
    @ivar check_loaded: called before requests other than polls and open pages; raises L{Unavailable} while these cannot
        be answered.
    @ivar defer: called with each error, and whether its request names an agent; may set C{retry_after}.
    """

    _guard: IAuthenticator
    _offload: Offload
    _auditor: IAuditor | None = None
    _allowance: Allowance | None = None
    _places: IPlaces | None = None
    _defer: Callable[[ConfdError, bool], object] = lambda error, from_agent: None
    _check_loaded: Callable[[], object] = lambda: None
    _routes: Routes = field(factory=lambda: Routes(_misrouted), init=False)
    log: Logger = field(factory=Logger, init=False)

    def resource(self, *apis: object) -> IResource:
        """Return the resource that serves the endpoints of all C{apis}."""
        for api in apis:
            for declared, handler in endpoints_of(api):
                self._add(declared, handler)
        return self._routes

    def _add(self, declared: Endpoint, handler: Handler) -> None:
        def answer(request: BoundedRequest, parts: Mapping[str, object]) -> None:
            request.route = declared.path
            serving = self._serve(request, declared, handler, parts)
            work = begin(serving, lambda failure: self._failed(failure, request))
            if declared.reads and work is not None:
                # A client that hangs up cancels a read. It does not cancel a change, which may already be committed.
                request.notifyFinish().addErrback(lambda _: work.cancel())

        self._routes.add(declared, answer)

    def large(self, request: BoundedRequest, size: int) -> bool:
        """
        Tell whether to read a body that is larger than C{Limits.stranger}.

        A refused body is audited like any other refusal.

        @param size: bytes of the body, as far as they are known.
        """
        found = self._routes.find(request)
        if found is None or found[0].needs is ANYONE:
            return False
        (declared, parts), principal = found, NOBODY
        error: ConfdError = TooLarge("body_too_large", "The body is larger than the limit of the site.")
        try:
            principal = self._guard.identify(request)
            if declared.scope in (Scope.CLUSTER, Scope.QUERY):
                query, _ = _query_of(request, declared)
                allow(principal, declared.needed(request.uri, query), self._place(request, declared, query))
            elif declared.permissions:
                allow_somewhere(principal, declared.permissions)
            if size <= request.channel.factory.limits.body:
                return True
        except ConfdError as refusal:
            error = refusal
        if self._auditor is not None and declared.audited:
            self._auditor.refused(_attempt(request, declared, parts, principal, None, self._auditor.now()), error)
        return False

    async def _serve(
        self, request: BoundedRequest, declared: Endpoint, handler: Handler, parts: Mapping[str, object]
    ) -> None:
        try:
            result = await self._work(request, declared, handler, parts)
        except ConfdError as error:
            self._defer(error, bool(request.getHeader(b"X-Agent-ID")))
            result = _refusal(error, request, declared, parts)
        if isinstance(result, StreamingAnswer):
            result.begin(request)
        elif not (request.gone or request.finished):
            if result is not HANDLED:
                answer = result if isinstance(result, Answer) else Answer(strict_json.encode(result))
                _write(request, answer)
                if answer.revalidate is not None:
                    recognizes = partial(self._guard.recognizes, request)
                    request.remember(answer.body, recognizes, answer.revalidate)
            request.finish()

    def _failed(self, failure: Failure, request: BoundedRequest) -> None:
        if not (request.gone or request.finished):
            request.processingFailed(failure)
        elif not failure.check(CancelledError):
            self.log.failure("request {request_id} failed after its end", failure, request_id=request.id)

    async def _work(
        self, request: BoundedRequest, declared: Endpoint, handler: Handler, parts: Mapping[str, object]
    ) -> object:
        """Call the handler, after every check of its declaration has passed."""
        auditor = self._auditor if declared.audited else None
        principal, place, query, body, document, attempt = NOBODY, NOWHERE, None, None, None, None
        try:
            query, fault = _query_of(request, declared)
            if declared.needs is not ANYONE:
                looked_up = self._guard.prepare(request)
                if looked_up is not None:
                    await looked_up
                principal = self._guard.identify(request)
                request.caller = principal.who
                if declared.needs is not POLL:
                    self._check_loaded()
                if declared.scope is _QUERY:
                    place = self._place(request, declared, query)
                else:
                    place = await self._locate(request, declared, parts, query)
                self._authorize(principal, declared, declared.needed(request.uri, query), parts, place)
                if _break_glass(query):
                    allow(principal, (Permission.ADMIN,), NOWHERE)
            if not declared.reads:
                same_origin(request)
            if declared.audited and self._allowance is not None:
                self._allowance.use(principal.who)
            if fault is not None:
                raise fault
            body, document = await self._body(request, declared)
            if declared.scope is _BODY:
                place = self._named(body.namespace)  # type: ignore[attr-defined]
                allow(principal, declared.permissions, place)
            if auditor is not None:
                attempt = _attempt(request, declared, parts, principal, body, auditor.now(), place, _break_glass(query))
            return await handler(Call(request, principal, query, body, document, request.id, attempt), **parts)
        except Exception as error:
            if auditor is not None:
                now, reason = auditor.now(), _break_glass(query)
                attempt = attempt or _attempt(request, declared, parts, principal, body, now, place, reason)
                auditor.refused(attempt, error)
            raise

    async def _locate(
        self, request: BoundedRequest, declared: Endpoint, parts: Mapping[str, object], query: object
    ) -> Place:
        """
        Return the place where a request acts; that of L{Scope.BODY} is known once the body is read.

        @param query: the query, C{None} if it is invalid.
        """
        if self._places is not None and declared.scope is Scope.AGENT:
            return await self._places.agent(getattr(query, "id", "") or str(parts["agent_id"]))
        if self._places is not None and declared.scope is Scope.ROLLOUT:
            return await self._places.rollout(cast(int, parts["number"]))
        if self._places is not None and declared.scope is Scope.CHANGE:
            return await self._places.change(cast(int, parts["number"]))
        if declared.scope is Scope.NAMESPACE:
            return self._named(str(parts["name"]))
        return self._place(request, declared, query)

    def _authorize(
        self,
        principal: Principal,
        declared: Endpoint,
        needed: tuple[Permission, ...],
        parts: Mapping[str, object],
        place: Place,
    ) -> None:
        """Check that a caller has one of the needed permissions in a place."""
        if not needed or (declared.scope is _TOKEN and parts["token_id"] == principal.token_id):
            return
        if declared.scope in _SOMEWHERE:
            allow_somewhere(principal, needed)
        else:
            allow(principal, needed, place)

    def _place(self, request: BoundedRequest, declared: Endpoint, query: object) -> Place:
        """Return the place of an endpoint of L{Scope.CLUSTER} or L{Scope.QUERY}."""
        if declared.scope is not _QUERY:
            return NOWHERE
        if isinstance(query, NamespaceQuery):
            return self._named(query.namespace)
        return self._named(peek(request.uri, "namespace", DEFAULT_NAMESPACE))

    def _named(self, namespace: str) -> Place:
        return Place(namespace) if self._places is None else self._places.namespace(namespace)

    async def _body(self, request: BoundedRequest, declared: Endpoint) -> tuple[object, Document | None]:
        if declared.reads:
            return None, None
        assert request.content is not None
        raw = request.content.read()
        encodings = request.requestHeaders.getRawHeaders(b"Content-Encoding", [])
        if any(each.strip().lower() not in (b"", b"identity") for line in encodings for each in line.split(b",")):
            raise UnsupportedType("encoded_body", "Send the body as it is, without the header Content-Encoding.")
        kind = (read_header(request, "Content-Type") or "").partition(";")[0].strip().lower()
        needed = declared.body is not None and (raw or not declared.optional_body)
        # Any page can make a browser send a form, so a form is refused even where no body is needed.
        if kind != JSON and (kind or needed):
            raise UnsupportedType("not_json", f"Send the body as JSON, with Content-Type: {JSON}.")
        if declared.body is None:
            return None, None
        if declared.max_body is not None and len(raw) > declared.max_body:
            raise TooLarge("body_too_large", f"The body is larger than {declared.max_body} bytes.")
        if not raw and declared.optional_body:
            raw = b"{}"
        if isinstance(declared.body, AnyDocument):
            return await self._offload.run(len(raw), read_document, raw)
        return convert(await self._offload.run(len(raw), read_object, raw), declared.body, strict=True), None


def _query_of(request: BoundedRequest, declared: Endpoint) -> tuple[object, Malformed | None]:
    """Return the query, and C{None} with the error if it is invalid: only an authorized caller hears of the error."""
    if declared.query is AnyQuery:
        return AnyQuery(), None
    try:
        return read_query(request.uri, declared.query), None
    except Malformed as error:
        return None, error


def _attempt(
    request: BoundedRequest,
    declared: Endpoint,
    parts: Mapping[str, object],
    principal: Principal,
    body: object,
    now: datetime,
    place: Place = NOWHERE,
    break_glass: str = "",
) -> Attempt:
    if parts:
        named = peek(request.uri, declared.named_by, "") if declared.named_by else ""
        target = named or "/".join(map(str, parts.values()))
    elif declared.named_by:
        target = str(getattr(body, declared.named_by, ""))
    elif issubclass(declared.query, NamespaceQuery):
        target = peek(request.uri, "namespace", DEFAULT_NAMESPACE)
    else:
        target = ""
    peer = getattr(request.getClientAddress(), "host", "unix")
    action = f"{declared.method} {declared.path}"
    return Attempt(
        principal.who,
        peer,
        action,
        printable(target, MAX_TARGET_CHARS),
        request.id,
        now,
        printable(place.namespace, MAX_TARGET_CHARS),
        principal.subject,
        break_glass,
    )


def _break_glass(query: object) -> str:
    """Return the reason in a query for which a call is to pass policies and freezes; empty without one."""
    return printable(getattr(query, "break_glass", None) or "", MAX_REASON)


def _refusal(error: ConfdError, request: BoundedRequest, declared: Endpoint, parts: Mapping[str, object]) -> Answer:
    denied, headers = isinstance(error, (Unauthenticated, Forbidden)), headers_of(error)
    if declared.sign_in is not None and denied and b"text/html" in (request.getHeader(b"Accept") or b""):
        location = {"Location": declared.sign_in, "Cache-Control": "no-store"}
        return Answer(b"", HTTPStatus.SEE_OTHER, location, "text/html; charset=utf-8")
    if "WWW-Authenticate" in headers and asked_by_page(request):
        headers = {"WWW-Authenticate": PAGE_CHALLENGE}
    if declared.error_body is not None:
        body = strict_json.encode(declared.error_body(error, parts))
    else:
        body = error_body(error.code, error.message, request.id, error.details)
    return Answer(body, status_of(error), headers)


def _misrouted(request: BoundedRequest, status: int, error: ConfdError, headers: Mapping[str, str]) -> None:
    _write(request, Answer(error_body(error.code, error.message, request.id), status, headers))


def _write(request: BoundedRequest, answer: Answer) -> None:
    """Write a response, which the caller then finishes; break off a response that has already begun."""
    if request.startedWriting:
        request.break_off()
        return
    request.setResponseCode(int(answer.status), _PHRASES[answer.status])
    for name, value in answer.headers.items():
        request.setHeader(name, value)
    request.write_whole(answer.body, answer.content_type)
