"""
Routes from a method and a path to an endpoint.

Nearly all requests are for a path without variables. A dictionary finds these: Klein takes longer than all the rest of
a poll. Klein finds the paths that have variables, and says what is wrong with a request that no endpoint answers. It is
loaded for the first such request, so that a worker, which has no such path, need not hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, unquote_to_bytes

from attrs import define, field, frozen
from twisted.web.resource import IResource
from zope.interface import implementer

from confd.errors import ConfdError
from confd.web.api.endpoint import Endpoint
from confd.web.server.request import NOT_DONE_YET, BoundedRequest

if TYPE_CHECKING:
    from confd.web.api.klein_routes import KleinRoutes

#: Answers a request, given the variables of its path, and finishes it now or later.
Answerer = Callable[[BoundedRequest, Mapping[str, object]], None]

#: Writes the response to a request that no endpoint answers: its status, error and headers.
Misrouted = Callable[[BoundedRequest, int, ConfdError, Mapping[str, str]], None]


@frozen
class Route:
    """An endpoint, and the function that answers its requests."""

    declared: Endpoint
    answer: Answerer


@implementer(IResource)
class Routes:
    """
    The root of a site.

    @ivar routes: all routes, in the order in which they were added.
    @ivar rest: the resource of Klein, which knows all paths.
    """

    isLeaf = True

    def __init__(self, misrouted: Misrouted) -> None:
        self.routes: list[Route] = []
        self._exact: dict[tuple[bytes, bytes], Route] = {}
        self.rest = KleinOnDemand(self.routes, misrouted)

    def add(self, declared: Endpoint, answer: Answerer) -> None:
        """Add an endpoint; C{answer} is called with its requests."""
        route = Route(declared, answer)
        self.routes.append(route)
        if "<" not in declared.path:
            for method in ("GET", "HEAD") if declared.reads else (declared.method,):
                self._exact[method.encode(), declared.path.encode()] = route

    def find(self, request: BoundedRequest) -> tuple[Endpoint, Mapping[str, object]] | None:
        """Return the endpoint of a request and the variables of its path; C{None} if no endpoint answers it."""
        path = request.uri.partition(b"?")[0]
        route = self._exact.get((request.method, path))
        if route is not None:
            return route.declared, {}
        return self.rest.load().find(unquote(path), request.method.decode("latin-1"))

    def render(self, request: BoundedRequest) -> int:
        """Find the endpoint in the dictionary, or let Klein find it."""
        route = self._exact.get((request.method, request.path))
        if route is None:
            return self.rest.render(request)
        route.answer(request, {})
        return NOT_DONE_YET

    def getChildWithDefault(self, path: bytes, request: BoundedRequest) -> Routes:
        return self

    def putChild(self, path: bytes, child: IResource) -> None: ...


@implementer(IResource)
@define(eq=False)
class KleinOnDemand:
    """The resource of Klein, loaded for its first request; all routes are added before that."""

    _routes: Sequence[Route]
    _misrouted: Misrouted
    _loaded: KleinRoutes | None = field(default=None, init=False)

    isLeaf = True

    def load(self) -> KleinRoutes:
        """Return the routes of Klein."""
        if self._loaded is None:
            from confd.web.api.klein_routes import KleinRoutes

            self._loaded = KleinRoutes(self._routes, self._misrouted)
        return self._loaded

    def render(self, request: BoundedRequest) -> int:
        """Let Klein find the endpoint, or say that it finds none."""
        request.prepath, request.postpath = [], list(map(unquote_to_bytes, request.path[1:].split(b"/")))
        waiting: int = self.load().resource.render(request)
        return waiting

    def getChildWithDefault(self, path: bytes, request: BoundedRequest) -> KleinOnDemand:
        return self

    def putChild(self, path: bytes, child: IResource) -> None: ...
