"""Paths with variables, and what is wrong with a request that no endpoint answers, found by Klein."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus

from attrs import frozen
from klein import Klein
from klein._app import KleinRequest
from klein._interfaces import IKleinRequest
from twisted.python.components import registerAdapter
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.exceptions import NotFound as NoRoute
from werkzeug.routing import Map, Rule, RuleFactory
from zope.interface import implementer

from confd.errors import ConfdError
from confd.web.api.endpoint import Endpoint
from confd.web.api.routes import Answerer, Misrouted, Route
from confd.web.server.request import NOT_DONE_YET, BoundedRequest

# Klein knows the requests of twisted.web.server only.
registerAdapter(KleinRequest, BoundedRequest, IKleinRequest)


class KleinRoutes:
    """
    All routes of a site, as Klein knows them.

    @ivar resource: answers requests.
    """

    def __init__(self, routes: Iterable[Route], misrouted: Misrouted) -> None:
        """
        @param misrouted: writes the response to a request that no endpoint answers.
        """
        self._app = _App()
        self._app.handle_errors(HTTPException)(lambda request, failure: misrouted(request, *_explain(failure)))
        self._routes: dict[str, Route] = {}
        for each in routes:
            self._add(each)
        self.resource: IResource = self._app.resource()

    def _add(self, route: Route) -> None:
        name = f"{route.declared.method} {route.declared.path}"
        self._routes[name] = route
        self._app.route(route.declared.path, methods=[route.declared.method], endpoint=name)(
            lambda request, **parts: _Found(route.answer, parts)
        )

    def find(self, path: str, method: str) -> tuple[Endpoint, Mapping[str, object]] | None:
        """Return the endpoint of a request and the variables of its path; C{None} if no endpoint answers it."""
        try:
            name, parts = self._app.url_map.bind("").match(path, method)
        except HTTPException:
            return None
        return self._routes[name].declared, parts


def _explain(failure: Failure) -> tuple[int, ConfdError, dict[str, str]]:
    """Return the status, the error and the headers of the response to an exception of Klein."""
    error = failure.value
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        refusal = ConfdError("method_not_allowed", f"This path does not allow that method; it allows {allowed}.")
        return HTTPStatus.METHOD_NOT_ALLOWED, refusal, {"Allow": allowed}
    if isinstance(error, NoRoute):
        return HTTPStatus.NOT_FOUND, ConfdError("not_found", "No endpoint has this path."), {}
    return HTTPStatus.BAD_REQUEST, ConfdError("bad_request", "The request cannot be routed."), {}


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
