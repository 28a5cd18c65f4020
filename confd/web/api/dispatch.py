"""
The only code between a handler and the network.

L{Dispatcher} makes routes of the declarations of endpoints. It lets L{Gate} check the callers of requests, limits,
decodes and validates requests, calls their handlers, and encodes the responses and errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from confd.audit import Attempt
from confd.codec import strict_json
from confd.codec.text import printable
from confd.errors import ConfdError, Forbidden, TooLarge, Unauthenticated, UnsupportedType
from confd.model import DEFAULT_NAMESPACE, Document
from confd.runtime.coroutines import begin
from confd.runtime.offload import Offload
from confd.web.api.admission import Admission, Gate
from confd.web.api.endpoint import (
    ANYONE,
    HANDLED,
    JSON,
    Answer,
    AnyDocument,
    Call,
    Endpoint,
    Handler,
    NamespaceQuery,
    Scope,
    endpoints_of,
)
from confd.web.api.errors import error_body, headers_of, status_of
from confd.web.api.parsing import convert, peek, read_document, read_header, read_object
from confd.web.api.places import IPlaces
from confd.web.api.routes import Routes
from confd.web.api.streaming import StreamingAnswer
from confd.web.auth.basic import IAuditor, IAuthenticator
from confd.web.auth.principals import Place, allow
from confd.web.auth.sessions import PAGE_CHALLENGE, asked_by_page
from confd.web.auth.throttle import Allowance
from confd.web.server.request import BoundedRequest

_PHRASES = {int(status): status.phrase.encode() for status in HTTPStatus}
#: Python looks the members of an enumeration up with a function of its own each time.
_BODY = Scope.BODY

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
    _gate: Gate = field(init=False)
    _routes: Routes = field(factory=lambda: Routes(_misrouted), init=False)
    log: Logger = field(factory=Logger, init=False)

    @_gate.default
    def _make_gate(self) -> Gate:
        return Gate(self._guard, self._places, self._check_loaded)

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
        (declared, parts), admission = found, Admission()
        error: ConfdError = TooLarge("body_too_large", "The body is larger than the limit of the site.")
        try:
            self._gate.may_send(request, declared, admission)
            if size <= request.channel.factory.limits.body:
                return True
        except ConfdError as refusal:
            error = refusal
        if self._auditor is not None and declared.audited:
            self._auditor.refused(_attempt(request, declared, parts, admission, None, self._auditor.now()), error)
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
        admission, place, body, document, attempt = Admission(), None, None, None, None
        try:
            kept = self._gate.recall(request)
            if kept is None:
                await self._gate.admit(request, declared, parts, admission)
            else:
                admission.principal, admission.query = kept.principal, kept.query
                self._gate.check_loaded(declared)
                admission = kept
            if declared.audited and self._allowance is not None:
                self._allowance.use(admission.principal.who)
            if admission.fault is not None:
                raise admission.fault
            body, document = await self._body(request, declared, admission)
            if declared.scope is _BODY:
                place = self._gate.named(body.namespace)  # type: ignore[attr-defined]
                allow(admission.principal, declared.permissions, place)
            if auditor is not None:
                attempt = _attempt(request, declared, parts, admission, body, auditor.now(), place)
            principal, query = admission.principal, admission.query
            return await handler(Call(request, principal, query, body, document, request.id, attempt), **parts)
        except Exception as error:
            if auditor is not None:
                attempt = attempt or _attempt(request, declared, parts, admission, body, auditor.now(), place)
                auditor.refused(attempt, error)
            raise

    async def _body(
        self, request: BoundedRequest, declared: Endpoint, admission: Admission
    ) -> tuple[object, Document | None]:
        if declared.reads:
            return None, None
        assert request.content is not None
        raw = request.content.read()
        if admission.media_type is None:
            admission.media_type = _media_type(request)
        kind = admission.media_type
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


def _media_type(request: BoundedRequest) -> str:
    """
    Return the media type of a body; empty if its head names none.

    @raise UnsupportedType: the body is encoded.
    """
    encodings = request.requestHeaders.getRawHeaders(b"Content-Encoding", [])
    if any(each.strip().lower() not in (b"", b"identity") for line in encodings for each in line.split(b",")):
        raise UnsupportedType("encoded_body", "Send the body as it is, without the header Content-Encoding.")
    return (read_header(request, "Content-Type") or "").partition(";")[0].strip().lower()


def _attempt(
    request: BoundedRequest,
    declared: Endpoint,
    parts: Mapping[str, object],
    admission: Admission,
    body: object,
    now: datetime,
    place: Place | None = None,
) -> Attempt:
    """
    Return the attempt of a request, for the audit log.

    @param place: the place that a body names.
    """
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
        admission.principal.who,
        peer,
        action,
        printable(target, MAX_TARGET_CHARS),
        request.id,
        now,
        printable((place or admission.place).namespace, MAX_TARGET_CHARS),
        admission.principal.subject,
        admission.break_glass,
    )


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
