"""The endpoint of the backup."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from confd.audit import CUT_OFF, Attempt, AuditOutcome
from confd.controller.store.sqlite.backup import Backup
from confd.controller.store.write_queue import ignore_unavailable
from confd.errors import Conflict, Forbidden, Unavailable
from confd.interfaces import IAuditStore
from confd.runtime.metrics import Metrics
from confd.web.api.endpoint import HANDLED, Answer, Call, Scope, endpoint
from confd.web.api.file_response import FileResponse
from confd.web.api.streaming import StreamingAnswer
from confd.web.auth.principals import Permission
from confd.web.auth.throttle import HERE, source_of
from confd.web.openapi.docs import Docs, HeaderDocs

CONTENT_TYPE = "application/vnd.sqlite3"
CHECKSUM_HEADER = "X-Confd-Backup-Checksum"

#: Headers by which a proxy says that a request came from elsewhere.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "Via")


@define(eq=False)
class BackupApi:
    """
    Send a copy of the database.

    @ivar copy: makes a copy; C{None} for a store that has other ways of backup.
    """

    _copy: Callable[[], Deferred[Backup]] | None
    _store: IAuditStore
    _clock: IReactorTime
    _busy: bool = field(default=False, init=False)
    _last: datetime | None = field(default=None, init=False)

    async def load_rows(self) -> None:
        """Read the time of the newest backup."""
        if self._copy is not None:
            self._last = await self._store.last_backup()

    def expose(self, metrics: Metrics) -> None:
        """Add the metric of the newest backup, which is absent before the first."""
        metrics.gauge(
            "confd_backup_timestamp_seconds",
            "When the newest backup was made and sent.",
            lambda: {} if self._last is None else {(): self._last.timestamp()},
        )

    @endpoint(
        "GET",
        "/api/v1/backup",
        Permission.ADMIN,
        "A copy of the database.",
        scope=Scope.CLUSTER,
        recorded=True,
        docs=Docs(
            {200: CONTENT_TYPE},
            (Conflict, Unavailable),
            gives=(HeaderDocs(CHECKSUM_HEADER, "The checksum of the body.", "^sha256:[0-9a-f]{64}$"),),
            tag="backup",
        ),
    )
    async def backup(self, call: Call) -> StreamingAnswer | Answer:
        """
        Send a consistent copy of the SQLite database, which publishes and reports do not wait for.

        The copy holds the private signing keys. It is complete before the first byte is sent.
        """
        copy = self._copy
        if copy is None:
            raise Conflict("not_sqlite", "This controller does not use SQLite; use the backup tools of its database.")
        if not _is_private(call):
            raise Forbidden(
                "needs_tls",
                "A backup holds the private signing keys; ask over TLS, from this machine, or a unix socket.",
            )
        if self._busy:
            raise Conflict("backup_running", "Another backup is running; try again when it has ended.")
        self._busy = True
        made = await self._made(copy)
        try:
            return await self._send(call, made)
        except BaseException:
            self._end(made)
            raise

    def _made(self, copy: Callable[[], Deferred[Backup]]) -> Deferred[Backup]:
        """Return a Deferred that its caller may cancel: the thread goes on, and its copy is removed at its end."""
        waiter: Deferred[Backup] = Deferred()

        def ended(result: object) -> None:
            if isinstance(result, Backup) and waiter.called:
                self._end(result)
            elif not isinstance(result, Backup):
                self._busy = False
            if not waiter.called:
                waiter.callback(result)  # type: ignore[arg-type]

        copy().addBoth(ended)
        return waiter

    async def _send(self, call: Call, made: Backup) -> StreamingAnswer | Answer:
        assert call.attempt is not None
        request, attempt = call.request, call.attempt
        if request.method == b"HEAD":
            attempt = evolve(attempt, action=attempt.action.replace("GET", "HEAD"))
        await self._store.record([AuditOutcome(attempt, detail=f"{made.size} bytes, {made.checksum}")])
        request.setHeader("Content-Type", CONTENT_TYPE)
        request.setHeader("Content-Length", str(made.size))
        request.setHeader("Cache-Control", "no-store")
        request.setHeader(CHECKSUM_HEADER, made.checksum)
        if request.method == b"HEAD":
            self._end(made)
            return HANDLED
        response = FileResponse(self._clock, request, made.file)
        response.done.addBoth(self._ended, made, attempt)
        response.begin()
        return StreamingAnswer(response.done)

    def _ended(self, result: object, made: Backup, attempt: Attempt) -> object:
        if isinstance(result, Failure):
            detail = f"the reader of {made.checksum} took a part"
            self._store.record([AuditOutcome(attempt, CUT_OFF, detail)]).addErrback(ignore_unavailable)
        else:
            self._last = attempt.made_at
        self._end(made)
        return result

    def _end(self, made: Backup) -> None:
        made.file.close()
        self._busy = False


def _is_private(call: Call) -> bool:
    """Return whether nobody between the controller and the caller can read the response."""
    request = call.request
    if request.isSecure():
        return True
    peer, headers = request.channel.getPeer(), request.requestHeaders
    if request.channel.factory.proxies.trusts(peer):
        return headers.getRawHeaders("X-Forwarded-Proto") == ["https"]
    return source_of(peer) == HERE and not any(map(headers.hasHeader, _FORWARDED))
