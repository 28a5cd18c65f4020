"""The write path: check, commit, show. What follows the commit cannot fail the request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from confd.audit import Attempt
from confd.controller.configs.schema import Schema
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.history import EpochChange
from confd.interfaces import IConfigStore
from confd.model import Configuration, Document, Draft, Revision
from confd.runtime.signal import Signal


@frozen
class Publication:
    """
    A revision that is newly in force.

    @ivar arrived: when the request for it came, in seconds of the monotonic clock.
    @ivar committed: when it was on disk, likewise.
    """

    revision: Revision
    arrived: float
    committed: float


@define(eq=False)
class Configs:
    """
    Publishes documents.

    @ivar listeners: each is told of what is newly in force; one that fails harms neither the others nor the publish.
    @ivar now: the wall clock, for what people read in the history.
    @ivar publications: told C{(publication,)}, a L{Publication}; not of what was current before this process
        started.
    @ivar retirements: told C{(namespace,)} of one that was taken out of use.
    """

    _store: IConfigStore
    _snapshot: Snapshot
    _schema: Schema
    _clock: IReactorTime
    _now: Callable[[], datetime]
    listeners: list[Callable[[EncodedConfig], object]] = field(factory=list)
    publications: Signal = field(factory=Signal, init=False)
    retirements: Signal = field(factory=Signal, init=False)
    log: Logger = field(factory=Logger, init=False)

    async def load(self) -> None:
        """Put what the store has into the snapshot, and tell it again: a crash may have come before the telling."""
        revisions = await self._store.in_force()
        self._show_all([revision.configuration for revision in revisions])

    def draft(self, namespace: str, value: dict[str, Any], document: Document, author: str, **rest: Any) -> Draft:
        """
        A draft of a document that fits the schema.

        @param value: what C{document} was made of.
        @param rest: the other fields of L{Draft}.
        @raise Unprocessable: if it does not fit.
        """
        self._schema.check(value)
        return Draft(namespace, document, author, self._now(), **rest)

    async def revision(self, namespace: str, version: int) -> Revision:
        """One revision: see L{IConfigStore.revision}."""
        found: Revision = await self._store.revision(namespace, version)
        return found

    async def publish(self, draft: Draft, arrived: float) -> Revision:
        """
        Make a draft the next version of its namespace: see L{IConfigStore.publish}.

        @param arrived: when the request came, in seconds of the monotonic clock.
        """
        return self._show(await self._store.publish(draft), arrived)

    async def create_namespace(self, draft: Draft, arrived: float) -> Revision:
        """Make a namespace: see L{IConfigStore.create_namespace}."""
        return self._show(await self._store.create_namespace(draft), arrived)

    async def retire_namespace(self, name: str, attempt: Attempt | None = None) -> None:
        """Take a namespace out of use: see L{IConfigStore.retire_namespace}."""
        await self._store.retire_namespace(name, attempt)
        self._snapshot.drop(name)
        self.retirements.tell(name)

    async def rename(self, author: str, arrived: float, **rest: Any) -> Sequence[Revision]:
        """
        Raise the epoch, or adopt another cluster's identity: see L{IConfigStore.rename}.

        @param rest: the other fields of L{EpochChange}.
        """
        revisions: Sequence[Revision] = await self._store.rename(EpochChange(author, self._now(), **rest))
        return [self._show(revision, arrived) for revision in revisions]

    async def rotate_keys(self, attempt: Attempt | None = None) -> str:
        """Sign with a new key: see L{IConfigStore.rotate_keys}. Returns its public half."""
        await self._store.rotate_keys(attempt)
        self._show_all([encoded.configuration for encoded in self._snapshot.all()])
        public: str = self._store.keys[0].public
        return public

    def _show(self, revision: Revision, arrived: float) -> Revision:
        committed = self._clock.seconds()
        encoded = self._snapshot.put(revision.configuration)
        if encoded is not None:
            # Those who count are told before those who send: an agent may be fast.
            self.publications.tell(Publication(revision, arrived, committed))
            self._tell(encoded)
        return revision

    def _show_all(self, configurations: Iterable[Configuration]) -> None:
        self._snapshot.load(configurations)
        for encoded in self._snapshot.all():
            self._tell(encoded)

    def _tell(self, encoded: EncodedConfig) -> None:
        if encoded.configuration.unpublished:
            # Subscribers of another system would take it for a change. Agents of this controller poll for it.
            return
        for listener in self.listeners:
            try:
                listener(encoded)
            except Exception:
                self.log.failure("{tag} was not told to everyone", tag=str(encoded.configuration.tag))
