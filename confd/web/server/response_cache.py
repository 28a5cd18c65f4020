"""
Answers that are given again to the same bytes, past everything between the network and a handler.

An agent polls with the same bytes again and again, and most of what a poll takes is to parse them, to find the handler,
and to put its answer together. What a memo knows was made on that way, and what may have changed since is asked anew
each time: who the caller is, and whether the handler would answer the same. So it needs nobody who tells it what is no
longer true, only somebody who tells it what is no longer of use. An answer from it differs from one on the whole way by
nothing but its date and its id.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.web.http import datetimeToString

from confd.web.server.proxies import Hops

#: Bytes of a request and of an answer, at most, that are remembered.
LONGEST_REQUEST, LONGEST_ANSWER = 1024, 4096

#: Bytes that an entry takes besides its texts.
_OVERHEAD = 1024

_SPLICED = {b"Date": b"%(date)b", b"X-Request-Id": b"%(id)b"}


@frozen
class CachedResponse:
    """
    What is known of one request.

    @ivar template: the answer, with places for its date and its id.
    @ivar still_authorized: whether a caller from a source who sends it is taken for the same one still.
    @ivar revalidate: whether the handler would answer the same still; notes that it was asked.
    @ivar hops: what it tells of the way that it came.
    """

    template: bytes
    route: str
    status: int
    still_authorized: Callable[[str], bool]
    revalidate: Callable[[], bool]
    hops: Hops


@define(eq=False)
class ResponseCache:
    """
    Bounded; when it is full it begins anew, which costs each caller one request on the whole way.

    @ivar room: bytes that all of it may take.
    @ivar answered: how many requests it has answered.
    """

    _room: int = 16 << 20
    answered: int = field(default=0, init=False)
    _entries: dict[Any, CachedResponse] = field(factory=dict, init=False)
    #: The same answer goes to many.
    _templates: dict[bytes, bytes] = field(factory=dict, init=False)
    _taken: int = field(default=0, init=False)
    #: The connection whose bytes are being read, and all that there are of them.
    _reading: tuple[Any, bytes] = field(default=(None, b""), init=False)

    def __len__(self) -> int:
        return len(self._entries)

    def answer(self, channel: Any, data: bytes) -> bool:
        """
        Answer what has arrived on a connection on which nothing is under way.

        @return: whether it was; else it is to be read on the usual way, between L{begin} and L{end}.
        """
        entry = self._entries.get(data)
        if entry is None:
            return False
        site = channel.factory
        if not (entry.still_authorized(site.source(channel, entry.hops)) and entry.revalidate()):
            del self._entries[data]
            self._release(data)
            return False
        channel.transport.write(fill(entry.template))
        site.request_metrics.count(b"GET", entry.route, entry.status, 0.0)
        self.answered += 1
        return True

    def clear(self) -> None:
        """Forget all: worth it when most callers will ask with other bytes from now on."""
        self._entries.clear()
        self._templates.clear()
        self._taken = 0

    def begin(self, channel: Any, data: bytes) -> None:
        """These bytes are read on the usual way: L{keep} may be told of their answer meanwhile."""
        self._reading = channel, data

    def end(self) -> None:
        """They are read."""
        self._reading = None, b""

    def keep(
        self,
        request: Any,
        body: bytes,
        recognizes: Callable[[], Callable[[str], bool]],
        revalidate: Callable[[], bool],
    ) -> None:
        """
        Remember an answer, which is about to be written, if its request is all that has arrived.

        @param recognizes: makes what tells whether a caller from a source who sends it is the same one still.
        @param revalidate: see L{Answer.again<confd.web.api.endpoint.Answer>}.
        """
        channel, data = self._reading
        if request.channel is not channel or not _fits(request, data):
            return
        proxies, peer, headers = channel.factory.proxies, channel.getPeer(), request.requestHeaders
        if not (proxies.trusts(peer) or proxies.same_for_all(headers)):
            # The entry would be taken for a trusted peer's, too, and nothing of the way was read.
            return
        hops = proxies.hops(peer, headers)
        template = _template(request, body)
        if hops is not None and len(template) <= LONGEST_ANSWER:
            entry = CachedResponse(template, request.route, request.code, recognizes(), revalidate, hops)
            self._entries[data] = self._place(data, entry)

    def _place(self, data: bytes, entry: CachedResponse) -> CachedResponse:
        """Find room for an entry; it, with the template that others have, too."""
        template = entry.template
        cost = _OVERHEAD + len(data) + (0 if template in self._templates else len(template))
        if self._taken + cost > self._room:
            self.clear()
            cost = _OVERHEAD + len(data) + len(template)
        self._taken += cost
        return evolve(entry, template=self._templates.setdefault(template, template))

    def _release(self, data: bytes) -> None:
        """An entry is gone."""
        self._taken -= _OVERHEAD + len(data)


def fill(template: bytes) -> bytes:
    """An answer out of its template, with a date and an id of its own."""
    return template % {b"date": datetimeToString(), b"id": os.urandom(8).hex().encode()}


def _fits(request: Any, data: bytes) -> bool:
    """Whether these bytes are one request, its answer the only one to them, and the connection kept."""
    return (
        data.startswith(b"GET ")
        and len(data) <= LONGEST_REQUEST
        and request.channel.persistent
        and not request.channel.more
        and not request.requestHeaders.hasHeader(b"Expect")
    )


def _template(request: Any, body: bytes) -> bytes:
    """What L{HTTPChannel.writeHeaders<twisted.web.http.HTTPChannel.writeHeaders>} makes of it, and the body."""
    status = b"%s %d %s\r\n" % (request.clientproto, request.code, request.code_message)
    lines = [
        name + b": " + (_SPLICED.get(name) or value.replace(b"%", b"%%")) + b"\r\n"
        for name, values in request.responseHeaders.getAllRawHeaders()
        for value in values
    ]
    return status + b"".join(lines) + b"\r\n" + body.replace(b"%", b"%%")
