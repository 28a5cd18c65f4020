"""
One decorator for every path: who may call it, what it takes, how large, what it does.

It only declares. L{confd.web.api.dispatch} acts on it, and the API document is made of it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from attrs import field, frozen
from twisted.web.http import Request
from zope.interface import Interface

from confd.audit import Attempt
from confd.model import DEFAULT_NAMESPACE
from confd.web.api.parsing import read_header
from confd.web.auth.basic import Identity, Role
from confd.web.openapi.docs import Docs

#: Bytes of a body, where an endpoint says nothing else.
SMALL_BODY = 8192

#: What bodies and most answers are.
JSON = "application/json"

_ATTRIBUTE = "__confd_endpoint__"

Handler = Callable[..., Coroutine[Any, Any, Any]]

H = TypeVar("H", bound=Handler)


class IDeclares(Interface):
    """What declares its endpoints by itself, instead of by decorated methods."""

    def endpoints() -> Iterator[tuple[Endpoint, Handler]]:
        """They, with what answers them; asked once."""


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A path that takes no query."""


class AnyQuery(msgspec.Struct):
    """As the query of an endpoint: whatever it is, nobody looks at it."""


class NamespaceQuery(msgspec.Struct, forbid_unknown_fields=True):
    """
    A path that concerns one namespace.

    @ivar namespace: its name.
    """

    namespace: str = DEFAULT_NAMESPACE


class AnyDocument(enum.Enum):
    """As the body of an endpoint: any JSON object, handed over as it is."""

    OBJECT = "object"


@frozen
class Endpoint:
    """
    What is declared of one path and method: as a decorator, that a coroutine method answers it.

    It is called with a L{Call} and the variables of the path. It returns an L{Answer}, a value to encode as JSON, or
    L{HANDLED} or L{StreamingAnswer} where it writes to the request itself; what it raises as L{ConfdError} is told to
    the caller.

    @ivar role: who may call it.
    @ivar query: the type of its query.
    @ivar body: the type of its JSON body, L{AnyDocument.OBJECT}, or C{None} where it takes none.
    @ivar max_body: bytes of the body at most; C{None} leaves it to the site's limit.
    @ivar optional_body: whether no body means an empty object.
    @ivar named_by: the field that names what is to be changed: of the body, or, where the path has variables, of the
        query, which then wins.
    @ivar docs: what else the API document says of it.
    """

    method: str
    path: str
    role: Role
    summary: str
    query: type[msgspec.Struct] = field(default=NoQuery, kw_only=True)
    body: type[msgspec.Struct] | AnyDocument | None = field(default=None, kw_only=True)
    max_body: int | None = field(default=SMALL_BODY, kw_only=True)
    optional_body: bool = field(default=False, kw_only=True)
    named_by: str = field(default="", kw_only=True)
    docs: Docs = field(default=Docs(), kw_only=True)

    def __call__(self, handler: H) -> H:
        """Declare it of a method."""
        setattr(handler, _ATTRIBUTE, self)
        return handler

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"

    @property
    def audited(self) -> bool:
        """Whether who calls it is put on record."""
        return self.role is Role.ADMIN and not self.reads


@frozen
class Call:
    """
    One request, ready to be handled.

    @ivar query: an instance of the endpoint's query type.
    @ivar body: an instance of its body type, or a C{dict}.
    @ivar document: the L{Document} that the body is, where the endpoint takes L{AnyDocument.OBJECT}; else C{None}.
    @ivar request_id: names the request in answers and logs.
    @ivar attempt: to be put on record with the change that is asked for; C{None} where that is not audited.
    """

    request: Request
    identity: Identity
    query: Any
    body: Any
    document: Any
    request_id: str
    attempt: Attempt | None = None

    @property
    def arrived(self) -> float:
        """When the request was complete, in seconds of the monotonic clock."""
        seconds: float = self.request.arrived  # type: ignore[attr-defined]
        return seconds

    @property
    def size(self) -> int:
        """Bytes of the body."""
        content = self.request.content
        return 0 if content is None else content.tell()

    def header(self, name: str) -> str | None:
        """
        One header's value as text, or C{None}.

        @raise Malformed: if it is sent twice, or is no text.
        """
        return read_header(self.request, name)


@frozen
class Answer:
    """
    An answer that is more than a plain value: bytes that are JSON already, a status, headers.

    @ivar revalidate: where the same request from the same caller may get the same answer again without the handler:
        called in its place, it does what the handler does besides answering, and returns whether the answer is right
        still.
    @ivar agent_id: the agent for which it is right no longer once that is forgotten or given another token; empty where
        it depends on none.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str = JSON
    revalidate: Callable[[], bool] | None = None
    agent_id: str = ""


#: What a handler returns that has written the whole answer to the request.
HANDLED = Answer()


#: As a decorator, for the classes of handlers.
endpoint = Endpoint


def endpoints_of(api: object) -> Iterator[tuple[Endpoint, Handler]]:
    """The endpoints that an object declares, with what answers them; an L{IDeclares} knows its own."""
    if IDeclares.providedBy(api):
        yield from api.endpoints()
        return
    for name in dir(type(api)):
        declared = getattr(getattr(type(api), name), _ATTRIBUTE, None)
        if declared is not None:
            yield declared, getattr(api, name)
