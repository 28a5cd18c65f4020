"""The controller's store in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar, cast

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from confd import __version__
from confd.audit import Attempt
from confd.changes import Batch, Committed, Contents
from confd.controller.interfaces import IControllerStore
from confd.controller.store.change_log import MAX_KEPT_CHANGES, ChangeLog, Written
from confd.controller.store.cursor import Work
from confd.controller.store.database import DatabaseStore
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.postgres import announcements
from confd.controller.store.postgres.bootstrap import prepare_database, why_outdated
from confd.controller.store.postgres.checks import FAULTS, ServerFacts, load_facts
from confd.controller.store.postgres.continuity import DatabaseState
from confd.controller.store.postgres.controllers import KnownControllers, digest_settings, load_controllers
from confd.controller.store.postgres.cursor import DIALECT
from confd.controller.store.postgres.engine import LOAD_DEADLINE_SECONDS, PostgresEngine
from confd.controller.store.postgres.errors import explain, is_final
from confd.controller.store.postgres.feed_reader import load_changes, load_contents
from confd.controller.store.postgres.groups import CommittedGroup, Repair, Writer, sweep_rows
from confd.controller.store.postgres.listening import Listening
from confd.controller.store.postgres.presence import PresenceReader, touch
from confd.controller.store.postgres.publishes import may_share, publish_all
from confd.controller.store.postgres.raising import AutomaticRaise, raise_epoch
from confd.controller.store.postgres.shared_works import SharedWorks
from confd.controller.store.postgres.url import DatabaseUrl
from confd.controller.store.queries import audit, epoch
from confd.controller.store.queries.registrations import Joining, register_all
from confd.controller.store.write_queue import unavailable
from confd.errors import StartError, Unavailable
from confd.history import EpochChange
from confd.interfaces.announcements import LATE_SECONDS, Claim
from confd.interfaces.controllers import AgreedSettings, ControllerRecord
from confd.model import Draft, Registration, Revision
from confd.reports import AgentRecord, HeardElsewhere
from confd.runtime.lru import put
from confd.runtime.metrics import Metrics
from confd.runtime.reactor import Reactor
from confd.runtime.timing import Periodic

#: Seconds between two looks at the server.
LOOK_SECONDS = 30.0

#: Seconds between two heartbeats, and between two sweeps of the change log.
BEAT_SECONDS, SWEEP_SECONDS = 1.0, 60.0

T = TypeVar("T")

_NOT_OPEN = "it is not open yet"


@implementer(IControllerStore)
class PostgresStore(DatabaseStore):
    """
    Configurations, agents and the audit in one PostgreSQL database, for any number of equal controllers.

    The store goes on working after L{stopService}, for services that flush while they stop.
    """

    log = Logger()
    interval = 0.25
    dialect = DIALECT

    def __init__(
        self,
        reactor: Reactor,
        url: DatabaseUrl,
        first: Draft | None = None,
        keep: int = 0,
        *,
        cluster_id: str | None = None,
        address: str = "",
        replicated: bool = False,
        raise_after: float | None = None,
        end: Callable[[], object] | None = None,
        patience: float | None = None,
    ) -> None:
        """
        Connect to nothing.

        @param first: version 1 of an empty database, with its poll interval; C{None} refuses an empty database.
        @param keep: C{HISTORY_KEEP}, revisions of a namespace; 0 keeps all.
        @param cluster_id: C{CLUSTER_ID}; a database of another cluster is refused.
        @param address: of this controller, for people.
        @param replicated: whether C{DATABASE_DURABILITY} refuses writes that no standby confirms.
        @param raise_after: seconds until C{ON_STORAGE_BEHIND} raises the epoch of a database that lost changes;
            C{None} for never.
        @param end: ends the process once only a newer release may use the database; C{None} stops the reactor.
        @param patience: seconds for which a write that failed is tried again; C{None} for those of its deadline.
        """
        super().__init__(ChangeLog(reactor.seconds), keep)
        self._url, self._writer = url, Writer(address, __version__, reactor.seconds, replicated)
        self._reload_due, self._loaded_after = False, 0
        #: Numbers of the changes that this controller announces.
        self._own: dict[int, None] = {}
        migrations = shipped_migrations("postgres")
        self._schema, self._end = len(migrations), end or reactor.stop
        prepare = partial(prepare_database, migrations=migrations, cluster_id=cluster_id, first=first)
        self._connections = PostgresEngine(
            reactor, url, self._writer, prepare, self._group_committed, patience=patience
        )
        self._raising = AutomaticRaise(reactor, self._raise_epoch, raise_after)
        self._shared = SharedWorks(lambda work: super(PostgresStore, self)._audited(work, None))
        self._publish_all = partial(publish_all, keep=keep)
        self._presence = PresenceReader(self._writer.id)
        self._listening = Listening(reactor, url, self._heard)
        self._beats = Periodic(reactor, self._beat, lambda: BEAT_SECONDS)
        self._sweeps = Periodic(reactor, self._sweep, lambda: SWEEP_SECONDS)
        self._looks = Periodic(reactor, self._look, lambda: LOOK_SECONDS)
        self._facts: ServerFacts | None = None
        self._known = KnownControllers()

    def startService(self) -> None:
        """
        Open the database; where the server cannot be reached, try again and again.

        @raise StartError: in one line that begins with C{DATABASE_URL}, if only a person can mend it.
        """
        try:
            with self._connections.connect() as connection:
                self._writer.enter(connection)
        except Exception as error:
            reason = explain(error)
            if reason is None:
                raise
            if is_final(error):
                raise StartError(f"DATABASE_URL: {self._url.name} cannot be used: {reason}.") from None
            self._connections.report(reason)
        self._loaded_after = self._writer.reloads
        super().startService()
        self._listening.startService()
        self._beats.startService()
        self._sweeps.startService()
        self._looks.startService()

    def stopService(self) -> Deferred[None]:
        """Fires when every write that was asked for is on disk."""
        super().stopService()
        self._listening.stopService()
        stopped = maybeDeferred(self._beats.stopService).addCallback(lambda _: self._sweeps.stopService())
        stopped.addCallback(lambda _: self._looks.stopService())
        return stopped.addCallback(lambda _: self._engine.drain()).addCallback(lambda _: self._engine.release())

    def close(self) -> None:
        """End the threads and close the connections; where the reactor ends, that happens by itself."""
        self._listening.close()
        self._connections.close()

    def expose(self, metrics: Metrics) -> None:
        self._engine.expose(metrics)
        self._known.expose(metrics)

    @property
    def facts(self) -> Mapping[str, Callable[[], str]]:
        return {
            "database": lambda: "" if self._facts is None else f"{self._facts.describe()}, {self._url.name}",
            "database_settings": self._known.fault,
            **{f"database_{name}": partial(self._fault, name) for name in FAULTS},
        }

    def _fault(self, name: str) -> str:
        return "" if self._facts is None else self._facts.fault(name)

    async def _look(self) -> None:
        try:
            self._facts = await self._engine.read(load_facts)
            self._known.found = await self.controllers()
        except Unavailable:
            # The parts that need the server say why.
            self._facts = None

    @property
    def _engine(self) -> PostgresEngine:
        return self._connections

    def contents(self) -> Deferred[Contents]:
        if not self._writer.entered:
            return fail(self._unavailable())
        self._reload_due = False
        return self._engine.read(load_contents, LOAD_DEADLINE_SECONDS)

    def changes(self, after: int) -> Deferred[Batch]:
        self._writer.seen = after
        if self._reload_due:
            return succeed(Batch((), complete=False))
        if self._log.has(after):
            return succeed(self._log.since(after))
        work = partial(load_changes, after=after, known=self._writer.standing, seconds=self._log.seconds)
        return self._engine.read(work).addCallback(self._changes_read)

    def publish(self, draft: Draft) -> Deferred[Committed[Revision]]:
        # Webhooks tell who made each change.
        if self._events is None and may_share(draft):
            return self._shared.put(self._publish_all, draft)
        return super().publish(draft)

    def register(self, registration: Registration, token: bytes, at: datetime) -> Deferred[Committed[AgentRecord]]:
        return self._shared.put(register_all, Joining(registration, token, at))

    def touch(self, polls: Mapping[str, datetime], shared: Collection[str] = ()) -> Deferred[None]:
        work = partial(touch, polls=polls, shared=shared, dialect=self.dialect, me=self._writer.id)
        return self._engine.write(work)

    def heard(self) -> Deferred[HeardElsewhere]:
        return self._engine.read(self._presence.read)

    def agree(self, settings: AgreedSettings) -> None:
        """Show other controllers these settings of this controller from now on."""
        self._writer.agreed = settings

    def show_passwords(self, passwords: Mapping[str, str]) -> None:
        self.agree(AgreedSettings(self._writer.agreed.values, passwords))

    def controllers(self) -> Deferred[Sequence[ControllerRecord]]:
        return self._engine.read(load_controllers)

    def announce_to(self, brokers: Sequence[str]) -> None:
        self._writer.brokers = list(brokers)

    def is_own(self, seq: int) -> bool:
        return seq in self._own

    def claim(self, brokers: Collection[str], applied: int, late: float = LATE_SECONDS) -> Deferred[Sequence[Claim]]:
        found = self._engine.read(partial(announcements.any_late, brokers=brokers, applied=applied, late=late))
        work = partial(announcements.claim, brokers=brokers, applied=applied, late=late, me=self._writer.id)
        return found.addCallback(lambda any_late: self._engine.write(work) if any_late else [])

    def announced(self, done: Mapping[tuple[str, str], int]) -> Deferred[None]:
        return self._engine.write(partial(announcements.note_done, done=done))

    def begin_epoch(self, change: EpochChange) -> Deferred[Committed[Sequence[Revision]]]:
        work = partial(epoch.begin_epoch, change=change, keep=self._keep, announced=self._announce_cluster)
        audited = audit.audited(work, change.attempt, lambda _: f"epoch {change.epoch}")
        # The log puts a committed value in the place of each written one.
        return cast("Deferred[Committed[Sequence[Revision]]]", self._engine.write(Repair(audited)))

    def _audited(
        self, work: Work[Written[T]], attempt: Attempt | None, detail: Callable[[T], str] = lambda _: ""
    ) -> Deferred[Committed[T]]:
        self._shared.separate()
        return super()._audited(work, attempt, detail)

    def _changes_read(self, read: tuple[Batch, DatabaseState]) -> Batch:
        batch, state = read
        if batch.complete:
            self._writer.follow(state)
            self._log.note(batch.changes)
        return batch

    def _heard(self, writer: str) -> None:
        # The log hints at the changes of this controller.
        if writer != str(self._writer.id):
            self._log.hint()

    def _group_committed(self, group: CommittedGroup) -> Sequence[object]:
        if self._loaded_after != self._writer.reloads:
            self._loaded_after, self._reload_due = self._writer.reloads, True
        written = [each for each in group.results if isinstance(each, Written)]
        if written:
            self._log.follow(group.before)
        kinds = (kind for each in written for kind, _, _ in each.changes)
        for seq, kind in enumerate(kinds, group.before + 1):
            if kind in announcements.ANNOUNCED:
                put(self._own, seq, None, MAX_KEPT_CHANGES)
        return self._log.commit(group.results)

    async def _beat(self) -> None:
        await self._prepare_beat()
        try:
            await self._engine.write(self._writer.beat)
        except Unavailable as error:
            await self._raising.tried(error.code)
        else:
            await self._raising.tried(None)

    async def _prepare_beat(self) -> None:
        agreed = self._writer.agreed
        try:
            outdated = await self._engine.read(partial(why_outdated, known=self._schema))
            if not agreed.digests:
                await self._engine.read(partial(digest_settings, agreed=agreed))
        except Unavailable:
            # The heartbeat fails, too.
            return
        if outdated is not None:
            self.log.critical("DATABASE_URL: {name}: {outdated}.", name=self._url.name, outdated=outdated)
            self._end()

    async def _raise_epoch(self) -> None:
        known = self._writer.standing
        if known is not None:
            work = partial(raise_epoch, known=known, keep=self._keep)
            await self._engine.write(Repair(work))

    async def _sweep(self) -> None:
        """Delete old changes, and the revisions that a shorter history does not keep."""
        try:
            await self._engine.write(sweep_rows)
            await self._prune()
        except Unavailable:
            # The next round does it.
            pass

    def _unavailable(self) -> Unavailable:
        return unavailable(self._engine.reason or _NOT_OPEN)
