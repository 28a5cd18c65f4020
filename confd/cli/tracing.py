"""Print each request of a command, without its credentials and its body."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from attrs import define

from confd.cli.errors import CommandError
from confd.cli.transport import ITransport, Reply
from confd.codec.text import printable


@define(eq=False)
class TracingTransport:
    """
    A transport that prints a line for each request: method, path, status, time, size, and the id of the request.

    @ivar say: prints a line.
    @ivar monotonic: returns seconds.
    """

    _transport: ITransport
    _say: Callable[[str], None]
    _monotonic: Callable[[], float]

    def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        """Send a request; see L{ITransport.exchange}."""
        began = self._monotonic()
        what = f"{method} {path}" + (f", {len(body)} bytes" if body else "")
        try:
            answer = self._transport.exchange(method, path, headers, body, timeout)
        except CommandError as failure:
            self._tell(what, f"no answer: {failure.sentence}", began)
            raise
        self._tell(what, f"{_outcome(answer)}, {len(answer.body)} bytes", began)
        return answer

    def stream(self, path: str, headers: Mapping[str, str], idle: float) -> Iterator[Reply | bytes]:
        """Get an endless body; see L{ITransport.stream}."""
        began = self._monotonic()
        for piece in self._transport.stream(path, headers, idle):
            if isinstance(piece, Reply):
                self._tell(f"GET {path}", _outcome(piece), began)
            yield piece

    def certificate_expiry(self, timeout: float) -> datetime | None:
        """Return when the certificate expires; see L{ITransport.certificate_expiry}."""
        return self._transport.certificate_expiry(timeout)

    def _tell(self, what: str, outcome: str, began: float) -> None:
        milliseconds = (self._monotonic() - began) * 1000
        self._say(printable(f"{what}: {outcome}, {milliseconds:.0f} ms"))


def _outcome(answer: Reply) -> str:
    request_id = answer.headers.get("x-request-id")
    return f"{answer.status}" + (f", request {request_id}" if request_id else "")
