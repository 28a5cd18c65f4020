"""The metrics of a site: its requests, and the time that their responses took."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus

from attrs import define, field

from confd.runtime.histogram import Histogram
from confd.runtime.metrics import Metrics

#: The route of a request that no endpoint answers. A path in its place would make one series a client.
UNMATCHED = "unmatched"

#: The status of a request whose client hung up before the response, as in nginx.
HUNG_UP = 499

#: Bounds of the histogram. Few: each adds a line for each route.
_BOUNDS_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)

_METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")}
_STATUSES = {status.value: str(status.value) for status in HTTPStatus} | {HUNG_UP: str(HUNG_UP)}


@define(eq=False)
class RequestMetrics:
    """
    Counts requests. Every label has few values: the routes are known, and an unknown method counts as C{other}.

    @ivar refused: refused connections, by the limit that they exceeded: C{all} or C{address}.
    """

    refused: Counter[str] = field(factory=lambda: Counter(all=0, address=0), init=False)

    _requests: Counter[tuple[str, str, str]] = field(factory=Counter, init=False)
    _seconds: Histogram = field(factory=lambda: Histogram(_BOUNDS_SECONDS), init=False)

    def count(self, method: bytes, route: str, status: int, seconds: float | None = None, times: int = 1) -> None:
        """
        Count one request, or several of the same kind.

        @param route: the pattern of the path, or L{UNMATCHED}.
        @param seconds: from the end of the request to the end of the response, or to the beginning of a stream; C{None}
            for a request that was refused before it was complete.
        """
        known = _METHODS.get(method, "other")
        self._requests[known, route, _STATUSES.get(status) or f"{status // 100}xx"] += times
        if seconds is not None:
            self._seconds.observe(seconds, known, route, times=times)

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of requests and refused connections."""
        metrics.counter(
            "confd_http_requests",
            f"Requests, by method, route and status; {HUNG_UP} means that the client hung up.",
            lambda: self._requests,
            "method",
            "route",
            "status",
        )
        metrics.counter(
            "confd_connections_refused",
            "Connections refused, by the limit that they exceeded: all connections, or those of one address.",
            lambda: self.refused,
            "limit",
        )
        metrics.histogram(
            "confd_http_request_duration_seconds",
            "Time from the end of a request to the end of its response, or to the beginning of a stream.",
            self._seconds,
            "method",
            "route",
        )
