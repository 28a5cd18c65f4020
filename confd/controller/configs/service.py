"""The write path of configurations: check, commit, and wait until the feed has applied the change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from attrs import define

from confd.audit import Attempt
from confd.codec import strict_json
from confd.codec.strict_json import JsonObject
from confd.controller.configs.schema import Schema
from confd.controller.feed import Feed
from confd.errors import ConfdError, StartError
from confd.history import EpochChange
from confd.interfaces import IConfigStore
from confd.model import DEFAULT_NAMESPACE, Document, Draft, Revision


@define(eq=False)
class Configs:
    """
    Writes configurations. Nothing that follows the commit can fail a write.

    @ivar now: the wall clock, for what people read in the history.
    """

    _store: IConfigStore
    _schema: Schema
    _feed: Feed
    _now: Callable[[], datetime]

    def draft(self, namespace: str, value: JsonObject, document: Document, author: str, **rest: Any) -> Draft:
        """
        Return a draft of a document that fits the schema.

        @param value: what C{document} was made of.
        @param rest: the other fields of L{Draft}.
        @raise Unprocessable: if it does not fit.
        """
        self._schema.check(value, len(document.raw))
        return Draft(namespace, document, author, self._now(), **rest)

    async def revision(self, namespace: str, version: int) -> Revision:
        """Return one revision: see L{IConfigStore.revision}."""
        found: Revision = await self._store.revision(namespace, version)
        return found

    async def publish(self, draft: Draft) -> Revision:
        """Publish a draft: see L{IConfigStore.publish}."""
        return await self._feed.follow(self._store.publish(draft))

    async def create_namespace(self, draft: Draft) -> Revision:
        """Create a namespace: see L{IConfigStore.create_namespace}."""
        return await self._feed.follow(self._store.create_namespace(draft))

    async def retire_namespace(self, name: str, attempt: Attempt | None = None) -> None:
        """Retire a namespace: see L{IConfigStore.retire_namespace}."""
        await self._feed.follow(self._store.retire_namespace(name, attempt))

    async def begin_epoch(self, author: str, **rest: Any) -> Sequence[Revision]:
        """
        Begin a new epoch, perhaps as another cluster: see L{IConfigStore.begin_epoch}.

        @param rest: the other fields of L{EpochChange}.
        """
        return await self._feed.follow(self._store.begin_epoch(EpochChange(author, self._now(), **rest)))

    async def rotate_keys(self, attempt: Attempt | None = None) -> str:
        """Add a signing key: see L{IConfigStore.rotate_keys}; return its public half."""
        identity = await self._feed.follow(self._store.rotate_keys(attempt))
        return identity.keys[0].public


def first_draft(schema: Schema, config: JsonObject, poll_interval: int, at: datetime) -> Draft:
    """
    Return version 1 of a new database.

    @raise StartError: if C{config} cannot be published.
    """
    try:
        schema.check(config)
        document = strict_json.document(config)
    except ConfdError as error:
        raise StartError(f"DEFAULT_CONFIG: {error.message}") from None
    return Draft(DEFAULT_NAMESPACE, document, "confd", at, poll_interval, "the first version")
