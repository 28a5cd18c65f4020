"""What a site was asked, and how long its answers took."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus

from attrs import define, field

from confd.runtime.metrics import Histogram, Metrics

#: Where a request never came as far as a route: what is in its path is the caller's, and without end.
UNMATCHED = "unmatched"

#: The status of a request whose caller hung up before its answer, as nginx has it.
HUNG_UP = 499

#: Seconds. Few: each of them is a line for each route.
_BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)

_METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")}
_STATUSES = {status.value: str(status.value) for status in HTTPStatus} | {HUNG_UP: str(HUNG_UP)}


@define(eq=False)
class RequestMetrics:
    """
    Counts requests. All labels are of a few values: the routes are known, and what a caller makes up is C{other}.

    @ivar refused: connections, by the limit that they were above: C{all} that are open, or those from one C{address}.
    """

    refused: Counter[str] = field(factory=lambda: Counter(all=0, address=0), init=False)

    _requests: Counter[tuple[str, str, str]] = field(factory=Counter, init=False)
    _seconds: Histogram = field(factory=lambda: Histogram(_BOUNDS), init=False)

    def count(self, method: bytes, route: str, status: int, seconds: float | None = None, times: int = 1) -> None:
        """
        One request, or several of the same kind.

        @param route: the pattern of its path, or L{UNMATCHED}.
        @param seconds: from the end of the request to the end of the answer, of a stream to its beginning; C{None} for
            one that was refused before it was complete.
        """
        known = _METHODS.get(method, "other")
        self._requests[known, route, _STATUSES.get(status) or f"{status // 100}xx"] += times
        if seconds is not None:
            self._seconds.observe(seconds, known, route, times=times)

    def expose(self, metrics: Metrics) -> None:
        """Show the figures."""
        metrics.counter(
            "confd_http_requests",
            f"Requests that were answered, by the pattern of their path; {HUNG_UP}: the caller hung up.",
            lambda: self._requests,
            "method",
            "route",
            "status",
        )
        metrics.counter(
            "confd_connections_refused",
            "Connections that were closed at once, by the limit that they were above: all, or those of one address.",
            lambda: self.refused,
            "limit",
        )
        metrics.histogram(
            "confd_http_request_duration_seconds",
            "From the whole request to the whole answer; of a stream, to its beginning.",
            self._seconds,
            "method",
            "route",
        )
