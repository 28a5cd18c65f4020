"""
From a method and a path to what answers it.

Klein knows the paths with variables in them, and what is wrong with a request that nothing answers. Nearly all requests
are for a path without variables: one look finds it, where Klein takes longer than all the rest of a poll.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from attrs import frozen
from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from werkzeug.exceptions import HTTPException
from zope.interface import implementer

from confd.web.api.endpoint import Endpoint

#: Answers a request, given the variables of its path, and finishes it now or later.
Answerer = Callable[[Any, Mapping[str, Any]], None]


@implementer(IResource)
class Routes:
    """
    The root of a site.

    @ivar rest: knows all paths, as Klein does.
    """

    isLeaf = True

    def __init__(self, misrouted: Callable[[Any, Failure], None]) -> None:
        """
        @param misrouted: writes the answer to a request that nothing else answers, given Klein's exception.
        """
        self._app = Klein()
        # A redirect to a tidier path would be an answer to somebody who has shown no credentials.
        self._app.url_map.merge_slashes = False
        self._app.handle_errors(HTTPException)(lambda request, failure: misrouted(request, failure))
        self._declared: dict[str, Endpoint] = {}
        self._exact: dict[tuple[bytes, bytes], Answerer] = {}
        self.rest: IResource = self._app.resource()

    def add(self, declared: Endpoint, answer: Answerer) -> None:
        """Have C{answer} called with the requests for one path and method."""
        name = f"{declared.method} {declared.path}"
        self._declared[name] = declared
        self._app.route(declared.path, methods=[declared.method], endpoint=name)(
            lambda request, **parts: _Found(answer, parts)
        )
        if "<" not in declared.path:
            for method in ("GET", "HEAD") if declared.reads else (declared.method,):
                self._exact[method.encode(), declared.path.encode()] = answer

    def find(self, request: Any) -> tuple[Endpoint, Mapping[str, Any]] | None:
        """What a request is for, and the variables of its path; C{None} if nothing answers it."""
        path, method = unquote(request.uri.partition(b"?")[0]), request.method.decode("latin-1")
        try:
            name, parts = self._app.url_map.bind("").match(path, method)
        except HTTPException:
            return None
        return self._declared[name], parts

    def render(self, request: Any) -> int:
        """See L{IResource.render}."""
        answer = self._exact.get((request.method, request.path))
        if answer is None:
            waiting: int = self.rest.render(request)
            return waiting
        answer(request, {})
        return NOT_DONE_YET

    def getChildWithDefault(self, path: bytes, request: Any) -> Routes:
        """It has no children."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """Nor takes any."""


@implementer(IResource)
@frozen
class _Found:
    """What Klein gets for an answer: it renders it, and leaves the rest to it."""

    _answer: Answerer
    _parts: Mapping[str, Any]

    isLeaf = True

    def render(self, request: Any) -> int:
        self._answer(request, self._parts)
        return NOT_DONE_YET

    def getChildWithDefault(self, path: bytes, request: Any) -> _Found:
        return self

    def putChild(self, path: bytes, child: IResource) -> None: ...
