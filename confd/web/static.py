"""The files of web pages: read from the package for the first request, and served as endpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import PurePosixPath

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from confd.codec.headers import entity_tags
from confd.runtime.offload import LARGE_BYTES, Offload
from confd.web.api.endpoint import Answer, AnyQuery, Call, Endpoint, Handler, IDeclares, Open, Scope
from confd.web.api.streaming import StreamingAnswer
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import ETAG, IF_NONE_MATCH, Docs
from confd.web.server.request import BoundedRequest

#: The policy of a page: it loads from this site only, and runs nothing inline (CSP 3).
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}

#: Bytes of a file that are in flight to one reader.
MAX_PIECE_BYTES = 65536

#: Seconds in which a reader must take the whole file.
SEND_TIMEOUT_SECONDS = 60


@frozen
class Asset:
    """
    A file with its headers.

    @ivar headers: among them a strong entity tag, with which browsers revalidate their copy.
    """

    content: bytes = field(repr=False)
    content_type: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, name: str, content: bytes, policy: str) -> Asset:
        """Build an asset from the name and the content of a file."""
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            "Cache-Control": "no-cache",
            "Content-Security-Policy": policy,
        }
        return cls(content, _type_of(name), headers)


@implementer(IDeclares)
@define(eq=False)
class Assets:
    """
    The files of one package as endpoints, each with a path of its own, so that no path leads out of the package.

    The files of Swagger UI take 1.9 MB, and nearly no worker ever serves one.

    @ivar offload: reads the files in a thread.
    @ivar paths: the names of files in C{package}, by the paths of their endpoints.
    @ivar needs: the permission that reads the files, in any namespace.
    @ivar policy: the Content-Security-Policy of the files.
    @ivar sign_in: see L{Endpoint}.
    """

    _clock: IReactorTime
    _offload: Offload
    _package: str
    _paths: Mapping[str, str]
    _needs: Permission | Open
    _policy: str = POLICY
    _sign_in: str | None = None
    _assets: Mapping[str, Asset] | None = field(default=None, init=False)

    def endpoints(self) -> Iterator[tuple[Endpoint, Handler]]:
        """Yield an endpoint for each file."""
        for path, name in self._paths.items():
            yield self._declare(path, _type_of(name))

    def _declare(self, path: str, content_type: str) -> tuple[Endpoint, Handler]:
        async def serve(call: Call) -> Answer | StreamingAnswer:
            if self._assets is None:
                # All at once, so that the files of a page belong together.
                self._assets = await self._offload.run(LARGE_BYTES, self._read)
            return self._answer(call, self._assets[path])

        docs = Docs({200: content_type, 304: None}, takes=(IF_NONE_MATCH,), gives=(ETAG,), tag="pages")
        summary, sign_in = "A file of the web pages.", self._sign_in
        declared = Endpoint(
            "GET", path, self._needs, summary, query=AnyQuery, scope=Scope.ANY, docs=docs, sign_in=sign_in
        )
        return declared, serve

    def _read(self) -> Mapping[str, Asset]:
        folder = files(self._package)
        return {
            path: Asset.of(name, folder.joinpath(name).read_bytes(), self._policy) for path, name in self._paths.items()
        }

    def _answer(self, call: Call, asset: Asset) -> Answer | StreamingAnswer:
        """Answer with a file. A large one is sent in pieces, so that unread files take little memory."""
        known = call.header("If-None-Match")
        if known is not None and not entity_tags(known).isdisjoint({"*", asset.headers["ETag"].strip('"')}):
            return Answer(status=304, headers=asset.headers)
        if call.request.method == b"HEAD" or len(asset.content) <= MAX_PIECE_BYTES:
            return Answer(asset.content, headers=asset.headers, content_type=asset.content_type)
        return StreamingAnswer(Sending(self._clock, call.request, asset).done)


@implementer(IPushProducer)
class Sending:
    """
    Sends a large file in pieces.

    @ivar done: fires when the whole file is written; cancel it when the client hangs up.
    """

    def __init__(self, clock: IReactorTime, request: BoundedRequest, asset: Asset) -> None:
        self._request, self._content, self._sent = request, memoryview(asset.content), 0
        self._flowing = True
        self.done: Deferred[None] = Deferred(lambda _: self.stopProducing())
        for name, value in asset.headers.items():
            request.setHeader(name, value)
        request.setHeader("Content-Type", asset.content_type)
        request.setHeader("Content-Length", str(len(asset.content)))
        self._cut: IDelayedCall = clock.callLater(SEND_TIMEOUT_SECONDS, request.channel.transport.abortConnection)
        request.registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._flowing = False

    def resumeProducing(self) -> None:
        self._flowing = True
        while self._flowing and self._sent < len(self._content):
            piece = self._content[self._sent : self._sent + MAX_PIECE_BYTES]
            self._sent += len(piece)
            self._request.write(bytes(piece))
        if self._sent == len(self._content) and not self.done.called:
            self.stopProducing()
            self._request.unregisterProducer()
            self.done.callback(None)

    def stopProducing(self) -> None:
        if self._cut.active():
            self._cut.cancel()


def _type_of(name: str) -> str:
    return TYPES[PurePosixPath(name).suffix]
