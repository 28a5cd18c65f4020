"""
One decorator for each path: who may call it, what it takes, and how large.

The decorator only declares. L{confd.web.api.dispatch} acts on it, and L{confd.web.openapi.document} describes it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from attrs import field, frozen
from zope.interface import Interface

from confd.access.break_glass import MAX_REASON
from confd.audit import Attempt
from confd.errors import ConfdError
from confd.model import DEFAULT_NAMESPACE, Document
from confd.web.api.parsing import peek, read_header
from confd.web.auth.principals import Permission, Principal
from confd.web.openapi.docs import Docs
from confd.web.server.request import BoundedRequest

#: Bytes of a body, unless an endpoint declares another limit.
SMALL_BODY_BYTES = 8192

#: The parameter C{break_glass} of a query: see L{confd.audit.Attempt}. It needs L{Permission.ADMIN}.
BreakGlassReason = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON)]

#: The media type of bodies and most responses.
JSON = "application/json"

_ATTRIBUTE = "__confd_endpoint__"

Handler = Callable[..., Coroutine[object, object, object]]

H = TypeVar("H", bound=Handler)


class IDeclares(Interface):
    """Declares its endpoints with a method, in place of decorated methods."""

    def endpoints() -> Iterator[tuple[Endpoint, Handler]]:
        """Yield each endpoint with its handler; called once."""


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The query of an endpoint without parameters."""


class AnyQuery(msgspec.Struct):
    """The query of an endpoint that ignores its query."""


class NamespaceQuery(msgspec.Struct, forbid_unknown_fields=True):
    """
    The query of an endpoint that concerns one namespace.

    @ivar namespace: its name.
    """

    namespace: str = DEFAULT_NAMESPACE


class BreakGlassQuery(msgspec.Struct, forbid_unknown_fields=True):
    """
    The query of an endpoint that policies and freezes hold.

    @ivar break_glass: why the call is to pass the policy and the freezes of the namespace; only an admin gives it.
    """

    break_glass: BreakGlassReason | None = None


class Open(enum.Enum):
    """
    Endpoints that need no permission.

    @cvar ANYONE: a caller needs no credentials.
    @cvar CALLER: a caller needs credentials only.
    """

    ANYONE = "anyone"
    CALLER = "caller"


#: Open to callers without credentials.
ANYONE = Open.ANYONE


class Scope(enum.Enum):
    """
    Where the namespace comes from in which a caller needs the permission.

    @cvar CLUSTER: a grant for every namespace is needed.
    @cvar QUERY: the field C{namespace} of the query.
    @cvar BODY: the field C{namespace} of the body.
    @cvar NAMESPACE: the namespace that the path names.
    @cvar AGENT: the namespace of the agent that the path or the query names.
    @cvar ROLLOUT: the namespace of the rollout that the path names.
    @cvar CHANGE: the namespace of the change that the path names.
    @cvar TOKEN: as L{CLUSTER}; but the token that the path names needs no permission.
    @cvar ANY: the permission in any namespace is enough; the handler shows only what the caller may see.
    """

    CLUSTER = "cluster"
    QUERY = "query"
    BODY = "body"
    NAMESPACE = "namespace"
    AGENT = "agent"
    ROLLOUT = "rollout"
    CHANGE = "change"
    TOKEN = "token"
    ANY = "any"


class AnyDocument(enum.Enum):
    """The body of an endpoint that takes any JSON object."""

    OBJECT = "object"


@frozen
class Endpoint:
    """
    The declaration of one path and method; as a decorator, it declares a coroutine method as their handler.

    The handler gets a L{Call} and the variables of the path. It returns an L{Answer} or a value to encode as JSON. A
    handler that writes to the request itself returns L{HANDLED} or a L{StreamingAnswer}. A L{ConfdError} that it raises
    becomes the response.

    @ivar needs: the permission that a caller needs, or several if one of them is enough; L{Open} for no permission.
    @ivar query: the type of the query.
    @ivar body: the type of the JSON body, or C{None} for no body.
    @ivar max_body: bytes of the body; C{None} for the limit of the site.
    @ivar optional_body: whether an empty body stands for an empty object.
    @ivar named_by: the field that names the target of a change, for the audit log. It is a field of the body, or of the
        query if the path has variables, and wins over them.
    @ivar scope: where the caller needs the permission; by default L{Scope.QUERY} if the query has a namespace, and
        L{Scope.CLUSTER} otherwise.
    @ivar recorded: whether the audit log records its calls although it changes nothing.
    @ivar docs: what else the API document says of it.
    @ivar error_body: returns the body of an error response, given the error and the variables of the path; C{None} for
        an L{confd.web.api.errors.ErrorBody}.
    @ivar sign_in: the address of the page for a browser whose user may not read this one; C{None} for an error in JSON.
    @ivar reads: whether it changes nothing.
    @ivar permissions: a caller needs one of them.
    @ivar proposes: whether its query has the field C{propose}; a call that sets it needs L{Permission.CHANGE_PROPOSE}
        only.
    @ivar audited: whether the audit log records its calls.
    """

    method: str
    path: str
    needs: Permission | tuple[Permission, ...] | Open
    summary: str
    query: type[msgspec.Struct] = field(default=NoQuery, kw_only=True)
    body: type[msgspec.Struct] | type[dict[str, Any]] | AnyDocument | None = field(default=None, kw_only=True)
    max_body: int | None = field(default=SMALL_BODY_BYTES, kw_only=True)
    optional_body: bool = field(default=False, kw_only=True)
    named_by: str = field(default="", kw_only=True)
    scope: Scope = field(kw_only=True)
    recorded: bool = field(default=False, kw_only=True)
    docs: Docs = field(default=Docs(), kw_only=True)
    error_body: Callable[[ConfdError, Mapping[str, object]], object] | None = field(default=None, kw_only=True)
    sign_in: str | None = field(default=None, kw_only=True)
    reads: bool = field(init=False)
    permissions: tuple[Permission, ...] = field(init=False)
    proposes: bool = field(init=False)
    audited: bool = field(init=False)

    @scope.default
    def _find_scope(self) -> Scope:
        return Scope.QUERY if issubclass(self.query, NamespaceQuery) else Scope.CLUSTER

    @reads.default
    def _find_reads(self) -> bool:
        return self.method == "GET"

    @permissions.default
    def _find_permissions(self) -> tuple[Permission, ...]:
        if isinstance(self.needs, Open):
            return ()
        return (self.needs,) if isinstance(self.needs, Permission) else self.needs

    @proposes.default
    def _find_proposes(self) -> bool:
        return "propose" in self.query.__struct_fields__

    @audited.default
    def _find_audited(self) -> bool:
        changes = self.recorded or not self.reads
        return changes and bool(self.permissions) and Permission.AGENT_SERVE not in self.permissions

    def needed(self, uri: bytes, query: object) -> tuple[Permission, ...]:
        """
        Return the permissions that a request needs; one of them is enough.

        @param query: the query of the request, C{None} if it is invalid.
        """
        if not self.proposes:
            return self.permissions
        proposes = peek(uri, "propose", "") == "true" if query is None else query.propose  # type: ignore[attr-defined]
        return (Permission.CHANGE_PROPOSE,) if proposes else self.permissions

    def __call__(self, handler: H) -> H:
        """Declare a method as the handler."""
        setattr(handler, _ATTRIBUTE, self)
        return handler


@frozen
class Call:
    """
    One valid request, as its handler gets it.

    @ivar query: an instance of the query type of the endpoint.
    @ivar body: an instance of the body type; a C{dict} for L{AnyDocument.OBJECT}.
    @ivar request_id: names the request in responses and in the log.
    @ivar attempt: recorded together with the change; C{None} where changes are not audited.
    """

    request: BoundedRequest
    principal: Principal
    query: Any
    body: Any
    _document: Document | None
    request_id: str
    attempt: Attempt | None = None

    @property
    def document(self) -> Document:
        """The body, where the endpoint takes L{AnyDocument.OBJECT}."""
        assert self._document is not None
        return self._document

    @property
    def arrived(self) -> float:
        """When the request was complete, in seconds of the monotonic clock."""
        return self.request.arrived

    @property
    def size(self) -> int:
        """Bytes of the body."""
        content = self.request.content
        return 0 if content is None else content.tell()

    def header(self, name: str) -> str | None:
        """
        Return the value of a header as text, or C{None}.

        @raise Malformed: the header is repeated or not text.
        """
        return read_header(self.request, name)


@frozen
class Answer:
    """
    A response that is more than a value to encode: JSON in bytes, a status, headers.

    @ivar revalidate: allows the cache to give this response to the same request of the same caller. The cache calls it
        in place of the handler. It does all that the handler does but respond, and tells whether the response is still
        right.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str = JSON
    revalidate: Callable[[], bool] | None = None


#: A handler returns it after it has written the whole response to the request.
HANDLED = Answer()


#: The decorator, by the name that the classes of handlers use.
endpoint = Endpoint


def endpoints_of(api: object) -> Iterator[tuple[Endpoint, Handler]]:
    """Yield the endpoints that an object declares, each with its handler."""
    if IDeclares.providedBy(api):
        yield from api.endpoints()
        return
    for name in dir(type(api)):
        declared = getattr(getattr(type(api), name), _ATTRIBUTE, None)
        if declared is not None:
            yield declared, getattr(api, name)
