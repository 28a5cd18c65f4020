"""
One decorator for every path: who may call it, what it takes, how large, what it does; and one way to answer.

The decorator only declares. L{Edge} reads the declarations, puts them on one Klein application, and is the only code
between a handler and the network: it authenticates, limits, decodes, validates, encodes, and tells errors. The same
declarations are what an API document is made of.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine, Iterator, Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from attrs import define, field, frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException

from confd import jsontext
from confd.model import ConfdError, Document, Malformed, TooLarge, UnsupportedType
from confd.web.errors import HEADERS, STATUS, error_body, from_routing
from confd.web.guard import NOBODY, Identity, IGuard, Role, allow
from confd.web.ongoing import Ongoing

#: Bytes of a body, where an endpoint says nothing else.
SMALL_BODY = 8192

#: Bodies from here on are decoded off the reactor.
_LARGE_BODY = 32768

_JSON = "application/json"
_ATTRIBUTE = "__confd_endpoint__"

H = TypeVar("H", bound=Callable[..., Coroutine[Any, Any, Any]])


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A path that takes no query."""


class AnyQuery(msgspec.Struct):
    """As the query of an endpoint: whatever it is, nobody looks at it."""


class NamespaceQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A path that concerns one namespace."""

    namespace: str = "default"


class AnyDocument(enum.Enum):
    """As the body of an endpoint: any JSON object, handed over as it is."""

    OBJECT = "object"


@frozen
class Endpoint:
    """
    What is declared of one path and method.

    @ivar role: who may call it.
    @ivar query: the type of its query.
    @ivar body: the type of its JSON body, L{AnyDocument.OBJECT}, or C{None} where it takes none.
    @ivar max_body: bytes of the body at most; C{None} leaves it to the site's limit.
    @ivar optional_body: whether no body means an empty object.
    """

    method: str
    path: str
    role: Role
    summary: str
    query: type[msgspec.Struct]
    body: type[msgspec.Struct] | AnyDocument | None
    max_body: int | None
    optional_body: bool

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"


@frozen
class Call:
    """
    One request, ready to be handled.

    @ivar query: an instance of the endpoint's query type.
    @ivar body: an instance of its body type, or a C{dict}.
    @ivar document: the L{Document} that the body is, where the endpoint takes L{AnyDocument.OBJECT}; else C{None}.
    @ivar request_id: names the request in answers and logs.
    """

    request: Request
    identity: Identity
    query: Any
    body: Any
    document: Any
    request_id: str

    def header(self, name: str) -> str | None:
        """
        One header's value as text, or C{None}.

        @raise Malformed: if it is sent twice, or is no text.
        """
        return _header(self.request, name)


@frozen
class Answer:
    """An answer that is more than a plain value: bytes that are JSON already, a status, headers."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str = _JSON


#: What a handler returns that has written the whole answer to the request.
HANDLED = Answer()


def endpoint(
    method: str,
    path: str,
    role: Role,
    summary: str,
    *,
    query: type[msgspec.Struct] = NoQuery,
    body: type[msgspec.Struct] | AnyDocument | None = None,
    max_body: int | None = SMALL_BODY,
    optional_body: bool = False,
) -> Callable[[H], H]:
    """
    Declare that a coroutine method answers a path; see L{Endpoint}.

    It is called with a L{Call} and the variables of the path. It returns an L{Answer}, a value to encode as JSON, or
    L{HANDLED} or L{Ongoing} where it writes to the request itself; what it raises as L{ConfdError} is told to the
    caller.
    """
    declared = Endpoint(method, path, role, summary, query, body, max_body, optional_body)

    def declare(handler: H) -> H:
        setattr(handler, _ATTRIBUTE, declared)
        return handler

    return declare


def endpoints_of(api: object) -> Iterator[tuple[Endpoint, Callable[..., Coroutine[Any, Any, Any]]]]:
    """The endpoints that an object declares, with the methods that answer them."""
    for name in dir(type(api)):
        declared = getattr(getattr(type(api), name), _ATTRIBUTE, None)
        if declared is not None:
            yield declared, getattr(api, name)


@define(eq=False)
class Edge:
    """
    Where the network ends and the handlers begin.

    @ivar guard: tells callers apart.
    @ivar in_thread: runs a function off the reactor, like C{deferToThread}.
    """

    _guard: IGuard
    _in_thread: Callable[..., Deferred[Any]]
    log: Logger = field(factory=Logger)

    def resource(self, *apis: object) -> IResource:
        """One resource that answers the endpoints of all C{apis}."""
        app = Klein()
        # A redirect to a tidier path would be an answer to somebody who has shown no credentials.
        app.url_map.merge_slashes = False
        for api in apis:
            for declared, handler in endpoints_of(api):
                self._add(app, declared, handler)
        app.handle_errors(HTTPException)(_misrouted)
        resource: IResource = app.resource()
        return resource

    def _add(self, app: Klein, declared: Endpoint, handler: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        def serve(request: Request, **parts: Any) -> Deferred[Ongoing | None]:
            return Deferred.fromCoroutine(self._serve(request, declared, handler, parts))

        app.route(declared.path, methods=[declared.method], endpoint=f"{declared.method} {declared.path}")(serve)

    async def _serve(
        self, request: Any, declared: Endpoint, handler: Callable[..., Any], parts: dict[str, Any]
    ) -> Ongoing | None:
        try:
            call = await self._admit(request, declared)
            work = Deferred.fromCoroutine(handler(call, **parts))
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

    async def _admit(self, request: Any, declared: Endpoint) -> Call:
        """Everything that must be right before the handler is asked."""
        identity = NOBODY
        if declared.role is not Role.ANYONE:
            identity = self._guard.identify(request)
            allow(identity, declared.role, declared.reads)
        query = _query(request, declared.query)
        body, document = (None, None) if declared.body is None else await self._body(request, declared)
        return Call(request, identity, query, body, document, request.id)

    async def _body(self, request: Any, declared: Endpoint) -> tuple[Any, Document | None]:
        raw = request.content.read()
        if not raw and declared.optional_body:
            raw = b"{}"
        elif (_header(request, "Content-Type") or "").partition(";")[0].strip().lower() != _JSON:
            raise UnsupportedType("not_json", f"Send the body as JSON, with Content-Type: {_JSON}.")
        if declared.max_body is not None and len(raw) > declared.max_body:
            raise TooLarge("body_too_large", f"The body is larger than {declared.max_body} bytes.")
        read = _read_document if isinstance(declared.body, AnyDocument) else _read_object
        value, document = read(raw) if len(raw) < _LARGE_BODY else await self._in_thread(read, raw)
        return (value if document is not None else _fit(value, declared.body, strict=True)), document

    def _detached(self, work: Deferred[Any]) -> Deferred[Any]:
        """
        What a client that hangs up cannot cancel: Klein cancels the handler then, which would leave a change that is
        committed and never announced.
        """
        waiting: Deferred[Any] = Deferred()

        def done(result: Any) -> None:
            if not waiting.called:
                waiting.callback(result)
            elif isinstance(result, Failure) and not result.check(ConfdError):
                self.log.failure("a request whose caller had hung up failed", result)

        work.addBoth(done)
        return waiting


def _header(request: Any, name: str) -> str | None:
    values = request.requestHeaders.getRawHeaders(name.encode("ascii")) or ()
    if len(values) > 1:
        raise Malformed("repeated_header", f"The header {name} is sent more than once.")
    try:
        return values[0].decode("utf-8") if values else None
    except UnicodeDecodeError:
        raise Malformed("bad_header", f"The header {name} is not UTF-8 text.") from None


def _read_object(raw: bytes) -> tuple[dict[str, Any], None]:
    value = jsontext.decode(raw)
    if not isinstance(value, dict):
        raise Malformed("not_an_object", "The body must be a JSON object.")
    return value, None


def _read_document(raw: bytes) -> tuple[dict[str, Any], Document]:
    value, _ = _read_object(raw)
    return value, jsontext.document(value)


def _query(request: Any, kind: type[msgspec.Struct]) -> Any:
    if kind is AnyQuery:
        return AnyQuery()
    _, _, text = request.uri.partition(b"?")
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=32)
    except ValueError:
        raise Malformed("bad_query", "The query is not name=value pairs in percent-encoded UTF-8.") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Malformed("bad_query", "The query names a parameter twice.")
    query = _fit(values, kind, strict=False)
    for name, given in values.items():
        # msgspec takes "1e2" for 100 and "null" for nothing; somebody who wrote that meant something else.
        if str(getattr(query, name, given)).lower() != given.lower():
            said = f"{given[:40]!r} is not written as a plain value"
            raise Malformed("bad_field", f"{name}: {said}.", [{"pointer": f"/{name}", "message": said}])
    return query


def _fit(value: Any, kind: Any, strict: bool) -> Any:
    """
    Make C{value} an instance of C{kind}.

    @raise Malformed: naming the field that does not fit.
    """
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at `$")
        pointer = where.rstrip("`").replace(".", "/").replace("[", "/").replace("]", "")
        name = pointer.lstrip("/") or "the request"
        raise Malformed("bad_field", f"{name}: {said}.", [{"pointer": pointer, "message": said}]) from None


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
