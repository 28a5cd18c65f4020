"""The read path of configurations: a positive answer from memory, a negative answer only after a look at the store."""

from __future__ import annotations

from attrs import define

from confd.codec.headers import names_newer
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.controller.feed import Feed


@define(eq=False)
class ConfigReader:
    """
    Reads from the snapshot. Another controller may have committed what this one does not know yet: before a caller gets
    the answer that something does not exist, the feed reads the newest changes.

    All methods return the current configuration of a namespace, and fail alike.

    @raise NotFound: C{unknown_namespace}.
    @raise Unavailable: C{starting}; C{storage_unavailable}: the look at the store failed.
    """

    _snapshot: Snapshot
    _feed: Feed

    async def require(self, namespace: str, version: int = 0) -> EncodedConfig:
        """
        Return the current configuration; look at the store first if the namespace, or the version, is unknown.

        @param version: number of a version of the namespace that the caller is going to use.
        """
        found = self._snapshot.find(namespace)
        if found is not None and found.configuration.version >= version:
            return found
        return await self.newest(namespace)

    async def require_named(self, namespace: str, header: str | None) -> EncodedConfig:
        """
        Return the current configuration; look at the store first if the caller has a newer one.

        @param header: the C{If-None-Match} or C{Last-Event-ID} of the caller.
        """
        found = self._snapshot.find(namespace)
        if found is None or (header and header != found.etag and names_newer(header, found.configuration.tag)):
            return await self.newest(namespace)
        return found

    async def newest(self, namespace: str) -> EncodedConfig:
        """Return the current configuration after a look at the store."""
        await self.look()
        return self._snapshot.require(namespace)

    async def look(self) -> None:
        """Look at the store once memory is loaded: all that it has is in memory then."""
        if self._snapshot.problem() is None:
            await self._feed.refresh()
