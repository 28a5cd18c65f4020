"""Begin a new epoch without an operator, once a database has lost changes: C{ON_STORAGE_BEHIND=raise}."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.audit import Attempt
from confd.controller.store.change_log import Written
from confd.controller.store.cursor import Cursor
from confd.controller.store.postgres.continuity import DatabaseState, WentBack
from confd.controller.store.postgres.errors import StorageRefusal
from confd.controller.store.queries import audit, epoch
from confd.errors import Unavailable
from confd.history import EpochChange
from confd.model import Revision

#: Seconds for which writes must have failed: the old primary server may answer for a moment after a failover.
RAISE_AFTER_SECONDS = 30.0

_COMMENT = "the database lost changes"


@define(eq=False)
class AutomaticRaise:
    """
    Begins a new epoch when writes have failed for some time because the database lost changes.

    @ivar begin: begins it.
    @ivar after: seconds for which writes must have failed; C{None} leaves the epoch to an operator.
    """

    log = Logger()

    _clock: IReactorTime
    _begin: Callable[[], Awaitable[None]]
    _after: float | None
    _since: float | None = field(default=None, init=False)

    async def tried(self, code: str | None) -> None:
        """
        Take the result of a write.

        @param code: of its error; C{None} for a success.
        """
        now = self._clock.seconds()
        if code != WentBack.code:
            self._since = None
            return
        self._since = now if self._since is None else self._since
        if self._after is None or now - self._since < self._after:
            return
        try:
            await self._begin()
        except (Unavailable, StorageRefusal) as error:
            self.log.error("cannot raise the epoch of a database that lost changes: {reason}", reason=str(error))
        else:
            self.log.warn("raised the epoch, because the database lost changes; compare the histories")
            self._since = None


def raise_epoch(cursor: Cursor, known: DatabaseState, keep: int) -> Written[Sequence[Revision]]:
    """
    Raise the epoch above a known one: a work.

    @param keep: C{HISTORY_KEEP}.
    @raise WentBack: if the database is that of another cluster, or has a higher epoch.
    """
    there = epoch.load_identity(cursor)
    if there.cluster_id != known.cluster_id or there.epoch > known.epoch:
        raise WentBack(there.cluster_id != known.cluster_id)
    (now,) = cursor.execute("SELECT clock_timestamp()").fetchone()
    made_at = now.astimezone(UTC)
    attempt = Attempt("confd", "", "epoch", "", "", made_at)
    change = EpochChange("confd", made_at, known.epoch + 1, comment=_COMMENT)

    def begin(cursor: Cursor) -> Written[Sequence[Revision]]:
        return epoch.begin_epoch(cursor, change, keep, lambda before, after: None)

    return audit.audited(begin, attempt, lambda _: f"epoch {change.epoch}")(cursor)
