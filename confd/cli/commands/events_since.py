"""Read the entries of a paged list of events, newest first, that happened since a time and have some values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice

from attrs import frozen

from confd.cli.session import Session
from confd.codec.strict_json import JsonObject


@frozen
class EntryFilter:
    """
    The entries to read.

    @ivar key: the key of the time of an entry.
    @ivar since: the earliest time; C{None} for no limit.
    @ivar values: wanted values by key; C{None} for any value.
    """

    key: str
    since: datetime | None
    values: Mapping[str, str | None]

    def read(self, session: Session, path: str, limit: int, **query: str) -> list[JsonObject]:
        """
        Return the newest entries at a path, and request no page that holds only older ones.

        @param limit: largest number of entries.
        """
        wanted = {key: value for key, value in self.values.items() if value is not None}
        entries = session.controller.pages(path, None if wanted else limit, cursor="before", **query)
        found = (each for each in self._newer(entries) if all(each[key] == value for key, value in wanted.items()))
        return list(islice(found, limit))

    def _newer(self, entries: Iterator[JsonObject]) -> Iterator[JsonObject]:
        for each in entries:
            if self.since is not None and datetime.fromisoformat(each[self.key]).astimezone(UTC) < self.since:
                return
            yield each
