"""The write path: check, commit, show. What follows the commit cannot fail the request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from confd.controller.schema import Schema
from confd.controller.snapshot import Encoded, Snapshot
from confd.interfaces import IConfigStore
from confd.model import Configuration, Document, Draft, Revision


@define(eq=False)
class Configs:
    """
    Publishes documents.

    @ivar listeners: each is told of what is newly in force; one that fails harms neither the others nor the publish.
    @ivar now: the wall clock, for what people read in the history.
    """

    _store: IConfigStore
    _snapshot: Snapshot
    _schema: Schema
    _now: Callable[[], datetime]
    _listeners: Sequence[Callable[[Encoded], object]] = ()
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

    async def publish(self, draft: Draft) -> Revision:
        """Make a draft the next version of its namespace: see L{IConfigStore.publish}."""
        return self._show(await self._store.publish(draft))

    async def create_namespace(self, draft: Draft) -> Revision:
        """Make a namespace: see L{IConfigStore.create_namespace}."""
        return self._show(await self._store.create_namespace(draft))

    async def retire_namespace(self, name: str) -> None:
        """Take a namespace out of use: see L{IConfigStore.retire_namespace}."""
        await self._store.retire_namespace(name)
        self._snapshot.drop(name)

    async def rotate_keys(self) -> str:
        """Sign with a new key: see L{IConfigStore.rotate_keys}. Returns its public half."""
        await self._store.rotate_keys()
        self._show_all([encoded.configuration for encoded in self._snapshot.all()])
        public: str = self._store.keys[0].public
        return public

    def _show(self, revision: Revision) -> Revision:
        encoded = self._snapshot.put(revision.configuration)
        if encoded is not None:
            self._tell(encoded)
        return revision

    def _show_all(self, configurations: Iterable[Configuration]) -> None:
        self._snapshot.load(configurations)
        for encoded in self._snapshot.all():
            self._tell(encoded)

    def _tell(self, encoded: Encoded) -> None:
        for listener in self._listeners:
            try:
                listener(encoded)
            except Exception:
                self.log.failure("{tag} was not told to everyone", tag=str(encoded.configuration.tag))
