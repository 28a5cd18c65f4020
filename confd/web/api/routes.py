"""
Routes from a method and a path to an endpoint.

Klein finds the paths that have variables, and says what is wrong with a request that no endpoint answers. Nearly all
requests are for a path without variables. A dictionary finds these: Klein takes longer than all the rest of a poll.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import unquote

from attrs import frozen
from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule, RuleFactory
from zope.interface import implementer

from confd.web.api.endpoint import Endpoint
from confd.web.server.request import BoundedRequest

#: Answers a request, given the variables of its path, and finishes it now or later.
Answerer = Callable[[BoundedRequest, Mapping[str, object]], None]


@implementer(IResource)
class Routes:
    """
    The root of a site.

    @ivar rest: the resource of Klein, which knows all paths.
    """

    isLeaf = True

    def __init__(self, misrouted: Callable[[BoundedRequest, Failure], None]) -> None:
        """
        @param misrouted: writes the response to a request that no endpoint answers, given the exception of Klein.
        """
        self._app = _App()
        self._app.handle_errors(HTTPException)(lambda request, failure: misrouted(request, failure))
        self._declared: dict[str, Endpoint] = {}
        self._exact: dict[tuple[bytes, bytes], Answerer] = {}
        self.rest: IResource = self._app.resource()

    def add(self, declared: Endpoint, answer: Answerer) -> None:
        """Add an endpoint; C{answer} is called with its requests."""
        name = f"{declared.method} {declared.path}"
        self._declared[name] = declared
        self._app.route(declared.path, methods=[declared.method], endpoint=name)(
            lambda request, **parts: _Found(answer, parts)
        )
        if "<" not in declared.path:
            for method in ("GET", "HEAD") if declared.reads else (declared.method,):
                self._exact[method.encode(), declared.path.encode()] = answer

    def find(self, request: BoundedRequest) -> tuple[Endpoint, Mapping[str, object]] | None:
        """Return the endpoint of a request and the variables of its path; C{None} if no endpoint answers it."""
        path, method = unquote(request.uri.partition(b"?")[0]), request.method.decode("latin-1")
        try:
            name, parts = self._app.url_map.bind("").match(path, method)
        except HTTPException:
            return None
        return self._declared[name], parts

    def render(self, request: BoundedRequest) -> int:
        """Find the endpoint in the dictionary, or let Klein find it."""
        answer = self._exact.get((request.method, request.path))
        if answer is None:
            waiting: int = self.rest.render(request)
            return waiting
        answer(request, {})
        return NOT_DONE_YET

    def getChildWithDefault(self, path: bytes, request: BoundedRequest) -> Routes:
        return self

    def putChild(self, path: bytes, child: IResource) -> None: ...


class _App(Klein):
    """Klein with paths that start quickly."""

    def __init__(self) -> None:
        super().__init__()
        # A redirect to a normalized path would be a response without authentication.
        self._url_map = _Paths(merge_slashes=False)


class _Paths(Map):
    """Paths to match, from which confd builds no URLs."""

    def add(self, rulefactory: RuleFactory) -> None:
        for rule in rulefactory.get_rules(self):
            super().add(_Path(rule.rule, **rule.get_empty_kwargs()))


class _Path(Rule):
    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        # Werkzeug compiles two functions for each path. Together they take nine tenths of the start of a site.
        return _no_url


def _no_url(path: Rule, **values: object) -> tuple[str, str]:
    raise NotImplementedError("confd builds no URLs from routes")


@implementer(IResource)
@frozen
class _Found:
    """The resource that Klein renders for a path with variables."""

    _answer: Answerer
    _parts: Mapping[str, object]

    isLeaf = True

    def render(self, request: BoundedRequest) -> int:
        self._answer(request, self._parts)
        return NOT_DONE_YET

    def getChildWithDefault(self, path: bytes, request: BoundedRequest) -> _Found:
        return self

    def putChild(self, path: bytes, child: IResource) -> None: ...
