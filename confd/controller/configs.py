"""The write path: check, commit, show. What follows the commit cannot fail the request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from attrs import define

from confd import jsontext
from confd.controller.schema import Schema
from confd.controller.snapshot import Snapshot
from confd.interfaces import IConfigStore
from confd.model import Draft, Revision


@define(eq=False)
class Configs:
    """
    Publishes documents.

    @ivar now: the wall clock, for what people read in the history.
    """

    _store: IConfigStore
    _snapshot: Snapshot
    _schema: Schema
    _now: Callable[[], datetime]

    async def load(self) -> None:
        """Put what the store has into the snapshot."""
        revisions = await self._store.in_force()
        self._snapshot.load(revision.configuration for revision in revisions)

    def draft(self, namespace: str, value: dict[str, Any], author: str, **rest: Any) -> Draft:
        """
        A draft of a document that fits the schema.

        @param rest: the other fields of L{Draft}.
        @raise Unprocessable: if it does not fit, or has no canonical form.
        """
        self._schema.check(value)
        return Draft(namespace, jsontext.document(value), author, self._now(), **rest)

    async def publish(self, draft: Draft) -> Revision:
        """Make a draft the next version of its namespace: see L{IConfigStore.publish}."""
        revision = await self._store.publish(draft)
        self._snapshot.put(revision.configuration)
        return revision

    async def create_namespace(self, draft: Draft) -> Revision:
        """Make a namespace: see L{IConfigStore.create_namespace}."""
        revision = await self._store.create_namespace(draft)
        self._snapshot.put(revision.configuration)
        return revision

    async def retire_namespace(self, name: str) -> None:
        """Take a namespace out of use: see L{IConfigStore.retire_namespace}."""
        await self._store.retire_namespace(name)
        self._snapshot.drop(name)
