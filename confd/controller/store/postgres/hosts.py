"""Choose a server of the URL: after a failover the old primary server may be among the hosts again."""

from __future__ import annotations

import psycopg
from psycopg.rows import TupleRow

from confd.controller.store.postgres.continuity import DatabaseState, WentBack, check_continuation, load_state
from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.postgres.url import DatabaseUrl


def connect_to_continuation(
    url: DatabaseUrl, known: DatabaseState | None, **timeouts: int
) -> psycopg.Connection[TupleRow]:
    """
    Open a connection to the host whose database continues a known state, which blocks.

    Where no host continues it, the connection is to the first host: an operator compares the histories there.

    @param known: C{None} accepts any database.
    @param timeouts: see L{DatabaseUrl.connect}.
    @raise psycopg.Error: if no host can be used.
    """
    connection = url.connect(**timeouts)
    if known is None or _continues(connection, known):
        return connection
    for host in url.hosts():
        try:
            other = host.connect(**timeouts)
        except psycopg.Error:
            continue
        if _continues(other, known):
            connection.close()
            return other
        other.close()
    return connection


def _continues(connection: psycopg.Connection[TupleRow], known: DatabaseState) -> bool:
    cursor = PostgresCursor(connection)
    try:
        check_continuation(cursor, known, load_state(cursor))
    except WentBack:
        return False
    except psycopg.Error:
        # Another part says what is wrong.
        return True
    return True
