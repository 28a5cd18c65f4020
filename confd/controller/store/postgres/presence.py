"""Tell other controllers which agents this one heard; nothing of it survives a crash of the server."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec

from confd.codec import headers
from confd.controller.store.cursor import Dialect
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.queries import agents
from confd.reports import HeardElsewhere

#: Seconds without a heartbeat after which a controller has ended, and after which all of its agents are elsewhere.
MISSED_SECONDS, RETURNED_SECONDS = 2.5, 300

#: Seconds that a note is kept. A controller that reads later takes silence for what it is not, until the next poll.
KEPT_SECONDS = 60

_POLLS, _SHARED = msgspec.json.Decoder(dict[str, str]), msgspec.json.Decoder(set[str])


def touch(
    cursor: PostgresCursor, polls: Mapping[str, datetime], shared: Collection[str], dialect: Dialect, me: uuid.UUID
) -> None:
    """Raise the times of last polls, and note them for other controllers: a work."""
    if not polls:
        return
    agents.touch(cursor, polls, dialect.touch)
    body = msgspec.json.encode({agent_id: headers.rfc3339(at) for agent_id, at in polls.items()}).decode()
    without_token = msgspec.json.encode(list(shared)).decode()
    cursor.execute("INSERT INTO presence (controller, polls, shared) VALUES (?, ?, ?)", (me, body, without_token))
    cursor.execute(
        "DELETE FROM presence WHERE controller = ? AND at < clock_timestamp() - ? * interval '1 s'", (me, KEPT_SECONDS)
    )


class PresenceReader:
    """Reads the notes of other controllers, each once."""

    def __init__(self, me: uuid.UUID) -> None:
        self._me, self._read_to = me, 0

    def read(self, cursor: PostgresCursor) -> HeardElsewhere:
        """Return what the notes say that were not read before: a work that only reads."""
        # A crash of the server empties the table, and the numbers may begin again.
        rows = cursor.execute(
            """SELECT id, controller, polls, shared FROM presence
            WHERE id > CASE WHEN ? > (SELECT coalesce(max(id), 0) FROM presence) THEN 0 ELSE ? END ORDER BY id""",
            (self._read_to, self._read_to),
        ).fetchall()
        heard, by_token = dict[str, str](), set[str]()
        for number, controller, polls, shared in rows:
            self._read_to = number
            if controller != self._me:
                noted = _POLLS.decode(polls)
                by_token |= noted.keys() - _SHARED.decode(shared)
                for agent_id, at in noted.items():
                    heard[agent_id] = max(at, heard.get(agent_id, ""))
        lost, controllers = cursor.execute(
            """SELECT EXISTS (SELECT 1 FROM controllers WHERE id <> ? AND beat_at
            BETWEEN clock_timestamp() - ? * interval '1 s' AND clock_timestamp() - ? * interval '1 s'),
            (SELECT count(*) FROM controllers WHERE beat_at > clock_timestamp() - ? * interval '1 s')""",
            (self._me, RETURNED_SECONDS, MISSED_SECONDS, MISSED_SECONDS),
        ).fetchone()
        times = {agent_id: headers.parse_rfc3339(at) for agent_id, at in heard.items()}
        return HeardElsewhere(times, by_token, lost, max(controllers, 1))
