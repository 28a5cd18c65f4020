"""The rows of the controllers that use a database, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

import msgspec
from attrs import define, field

from confd.controller.store.postgres.cursor import PostgresCursor
from confd.interfaces.controllers import LOST_SECONDS, AgreedSettings, ControllerRecord, differing
from confd.runtime.metrics import Metrics

_LOAD = """
    SELECT address, release, started_at, beat_at, beat_at < clock_timestamp() - ? * interval '1 s', seen_seq,
        greatest((SELECT seq FROM head) - seen_seq, 0), settings
    FROM controllers ORDER BY address, started_at
"""

_SETTINGS = msgspec.json.Decoder(dict[str, str])


def digest_settings(cursor: PostgresCursor, agreed: AgreedSettings) -> None:
    """Make the digests of this controller's settings: a work that only reads, and takes a while."""
    (cluster_id,) = cursor.execute("SELECT cluster_id FROM head").fetchone()
    agreed.digest(cluster_id)


def load_controllers(cursor: PostgresCursor) -> Sequence[ControllerRecord]:
    """Return all controllers: a work that only reads."""
    rows = cursor.execute(_LOAD, (LOST_SECONDS,)).fetchall()
    return [
        ControllerRecord(
            address,
            release,
            started.astimezone(UTC),
            heard.astimezone(UTC),
            lost,
            seen,
            lag,
            _SETTINGS.decode(settings),
        )
        for address, release, started, heard, lost, seen, lag, settings in rows
    ]


@define(eq=False)
class KnownControllers:
    """The controllers at the last look, for metrics and C{/ready}."""

    found: Sequence[ControllerRecord] = field(factory=tuple)
    _names: set[str] = field(factory=set, init=False)

    def fault(self) -> str:
        """Return which settings differ, and the remedy after a semicolon; an empty text if all agree."""
        names = differing(self.found)
        if not names:
            return ""
        running = ", ".join(each.address for each in self.found if not each.lost)
        return (
            f"the controllers do not agree on {' and '.join(names)} ({running}); set each to the same value at all"
            " controllers"
        )

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics."""
        metrics.gauge(
            "confd_controllers",
            "Controllers that use the database, by state; a lost controller ended without a stop in the last hour.",
            self._states,
            "state",
        )
        metrics.gauge(
            "confd_settings_differ",
            "Whether the controllers do not agree on a setting (1) or do (0).",
            self._differences,
            "setting",
        )

    def _states(self) -> Mapping[str, int]:
        lost = sum(each.lost for each in self.found)
        return {"running": len(self.found) - lost, "lost": lost}

    def _differences(self) -> Mapping[str, int]:
        self._names.update(name for each in self.found for name in each.settings)
        differences = differing(self.found)
        return {name: int(name in differences) for name in sorted(self._names)}
