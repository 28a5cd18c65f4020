"""Tell other controllers which agents this one heard; nothing of it survives a crash of the server."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

import msgspec

from confd.codec import headers
from confd.controller.store.cursor import Dialect
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.queries import agents

#: Seconds without a heartbeat after which a controller has ended, and after which all of its agents are elsewhere.
LOST_SECONDS, RETURNED_SECONDS = 2.5, 300

#: Seconds that a note is kept. A controller that reads later takes silence for what it is not, until the next poll.
KEPT_SECONDS = 60

_POLLS = msgspec.json.Decoder(dict[str, str])


def touch(cursor: PostgresCursor, polls: Mapping[str, datetime], dialect: Dialect, me: uuid.UUID) -> None:
    """Raise the times of last polls, and note them for other controllers: a work."""
    if not polls:
        return
    agents.touch(cursor, polls, dialect.touch)
    body = msgspec.json.encode({agent_id: headers.rfc3339(at) for agent_id, at in polls.items()}).decode()
    cursor.execute("INSERT INTO presence (controller, polls) VALUES (?, ?)", (me, body))
    cursor.execute(
        "DELETE FROM presence WHERE controller = ? AND at < clock_timestamp() - ? * interval '1 s'", (me, KEPT_SECONDS)
    )


class PresenceReader:
    """Reads the notes of other controllers, each once."""

    def __init__(self, me: uuid.UUID) -> None:
        self._me, self._read_to = me, 0

    def read(self, cursor: PostgresCursor) -> tuple[Mapping[str, datetime], bool]:
        """
        Do a work that only reads.

        @return: the newest poll of each agent in the notes that were not read before, and whether another controller
            ended lately without a stop, so that its agents may not be back yet.
        """
        # A crash of the server empties the table, and the numbers may begin again.
        rows = cursor.execute(
            """SELECT id, controller, polls FROM presence
            WHERE id > CASE WHEN ? > (SELECT coalesce(max(id), 0) FROM presence) THEN 0 ELSE ? END ORDER BY id""",
            (self._read_to, self._read_to),
        ).fetchall()
        heard: dict[str, str] = {}
        for number, controller, polls in rows:
            self._read_to = number
            if controller != self._me:
                for agent_id, at in _POLLS.decode(polls).items():
                    heard[agent_id] = max(at, heard.get(agent_id, ""))
        (lost,) = cursor.execute(
            """SELECT EXISTS (SELECT 1 FROM controllers WHERE id <> ? AND beat_at
            BETWEEN clock_timestamp() - ? * interval '1 s' AND clock_timestamp() - ? * interval '1 s')""",
            (self._me, RETURNED_SECONDS, LOST_SECONDS),
        ).fetchone()
        return {agent_id: headers.parse_rfc3339(at) for agent_id, at in heard.items()}, lost
