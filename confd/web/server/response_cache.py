"""
A cache of whole responses, by the bytes of their requests.

An agent polls with the same bytes again and again. Most of the time of a poll goes into parsing them, finding the
handler and building the response. An entry saves all of that.

Two things may have changed since an entry was made, and are checked each time: that the caller is still authorized, and
that the handler would still give the same response. So entries revalidate themselves, and L{ResponseCache.clear} only
frees memory. A response from the cache differs from a computed one in its date and its id only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from confd.web.server.head import encode_head
from confd.web.server.proxies import Hops

if TYPE_CHECKING:
    from confd.web.server.channel import BoundedChannel
    from confd.web.server.request import BoundedRequest

#: Bytes of the longest request and of the longest response that are cached.
MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES = 1024, 4096

#: Bytes that an entry takes besides its texts.
_ENTRY_BYTES = 1024

_SPLICED = {b"Date": b"%(date)b", b"X-Request-Id": b"%(id)b"}


@frozen
class CachedResponse:
    """
    The response to one request.

    @ivar template: the response, with places for its date and its id.
    @ivar still_authorized: tells whether the bytes, from a source, still authenticate the same identity.
    @ivar revalidate: tells whether the handler would still give the same response, and notes that it was asked.
    @ivar hops: what the headers of the request say of its way.
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
    A bounded cache. When it is full it is cleared, which costs each caller one computed response.

    @ivar max_bytes: that all entries may take.
    @ivar answered: how many requests the cache has answered.
    """

    _max_bytes: int = 16 << 20
    answered: int = field(default=0, init=False)
    _entries: dict[bytes, CachedResponse] = field(factory=dict, init=False)
    #: Many entries share a template.
    _templates: dict[bytes, bytes] = field(factory=dict, init=False)
    _taken: int = field(default=0, init=False)
    #: The connection whose bytes are being read, and all of these bytes.
    _reading: tuple[BoundedChannel | None, bytes] = field(default=(None, b""), init=False)

    def __len__(self) -> int:
        return len(self._entries)

    def answer(self, channel: BoundedChannel, data: bytes) -> bool:
        """
        Answer bytes on an idle connection, if an entry fits them.

        @return: whether they were answered; if not, the caller reads them between L{begin} and L{end}.
        """
        entry = self._entries.get(data)
        if entry is None:
            return False
        site = channel.factory
        if not (entry.still_authorized(site.source(channel, entry.hops)) and entry.revalidate()):
            del self._entries[data]
            self._release(data)
            return False
        channel.transport.write(fill(entry.template, site.date.now(), next(site.request_ids)))
        site.request_metrics.count(b"GET", entry.route, entry.status, 0.0)
        self.answered += 1
        return True

    def clear(self) -> None:
        """Remove all entries: worth it when most callers will send other bytes from now on."""
        self._entries.clear()
        self._templates.clear()
        self._taken = 0

    def begin(self, channel: BoundedChannel, data: bytes) -> None:
        """Note the bytes that are about to be read, so that L{keep} can store their response."""
        self._reading = channel, data

    def end(self) -> None:
        """Forget the bytes that L{begin} noted."""
        self._reading = None, b""

    def keep(
        self,
        request: BoundedRequest,
        body: bytes,
        recognizes: Callable[[], Callable[[str], bool]],
        revalidate: Callable[[], bool],
    ) -> None:
        """
        Store the response that is about to be written, if its request is all that has arrived on the connection.

        @param recognizes: makes C{CachedResponse.still_authorized}.
        @param revalidate: see L{Answer.revalidate<confd.web.api.endpoint.Answer>}.
        """
        channel, data = self._reading
        if channel is None or request.channel is not channel or not _fits(request, data):
            return
        proxies, peer, headers = channel.factory.proxies, channel.getPeer(), request.requestHeaders
        if not (proxies.trusts(peer) or proxies.same_for_all(headers)):
            # The headers name a way that was not read. From a trusted peer the same bytes would mean another caller.
            return
        hops = proxies.hops(peer, headers)
        template = _template(request, body)
        if hops is not None and len(template) <= MAX_RESPONSE_BYTES:
            entry = CachedResponse(template, request.route, request.code, recognizes(), revalidate, hops)
            self._entries[data] = self._place(data, entry)

    def _place(self, data: bytes, entry: CachedResponse) -> CachedResponse:
        """Make room for an entry; return it with the template that equal ones share."""
        template = entry.template
        cost = _ENTRY_BYTES + len(data) + (0 if template in self._templates else len(template))
        if self._taken + cost > self._max_bytes:
            self.clear()
            cost = _ENTRY_BYTES + len(data) + len(template)
        self._taken += cost
        return evolve(entry, template=self._templates.setdefault(template, template))

    def _release(self, data: bytes) -> None:
        """Free the bytes of an entry that is gone."""
        self._taken -= _ENTRY_BYTES + len(data)


def fill(template: bytes, date: bytes, request_id: str) -> bytes:
    """Return a response made of its template, with a date and the id of its request."""
    return template % {b"date": date, b"id": request_id.encode()}


def _fits(request: BoundedRequest, data: bytes) -> bool:
    """Tell whether the bytes are one request with one response, on a connection that stays open."""
    return (
        data.startswith(b"GET ")
        and len(data) <= MAX_REQUEST_BYTES
        and bool(request.channel.persistent)
        and not request.channel.more
        and not request.requestHeaders.hasHeader(b"Expect")
    )


def _template(request: BoundedRequest, body: bytes) -> bytes:
    """Return the response, with places for the values that differ in each copy."""
    headers = [
        (name, [_SPLICED.get(name) or value.replace(b"%", b"%%") for value in values])
        for name, values in request.responseHeaders.getAllRawHeaders()
    ]
    head = encode_head(request.clientproto, b"%d" % request.code, request.code_message, headers)
    return head + body.replace(b"%", b"%%")
