"""What a server of PostgreSQL is like: facts for C{/ready} and C{confdctl doctor}."""

from __future__ import annotations

from attrs import frozen

from confd.controller.store.postgres.cursor import PostgresCursor

#: The share of the connections of a server that should be free.
_FREE = 0.1

_MORE = "raise max_connections, or end other clients"

#: What can be wrong with a server that works.
FAULTS = ("fsync", "full_page_writes", "connections")

_FACTS = """
    SELECT split_part(current_setting('server_version'), ' ', 1), current_setting('fsync') = 'on',
        current_setting('full_page_writes') = 'on',
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
        CAST(current_setting('max_connections') AS int)
            - CAST(current_setting('superuser_reserved_connections') AS int),
        coalesce((SELECT string_agg(application_name, ', ' ORDER BY application_name) FROM pg_stat_replication
            WHERE sync_state IN ('sync', 'quorum')), '')
"""


@frozen
class ServerFacts:
    """
    The state of a server.

    @ivar release: such as C{15.20}.
    @ivar used: connections of clients.
    @ivar limit: connections that the user of confd may share with others.
    @ivar standbys: names of the standbys that commits wait for, as far as the user may read them; may be empty.
    """

    release: str
    fsync: bool
    full_page_writes: bool
    used: int
    limit: int
    standbys: str

    def describe(self) -> str:
        """Return one line for people."""
        standby = f", commits wait for {self.standbys}" if self.standbys else ""
        return f"PostgreSQL {self.release}, {self.used} of {self.limit} connections are in use{standby}"

    def fault(self, name: str) -> str:
        """
        Return what is wrong, and the remedy after a semicolon; an empty text if nothing is.

        @param name: C{fsync}, C{full_page_writes} or C{connections}.
        """
        if name == "connections":
            scarce = self.limit - self.used < self.limit * _FREE
            return f"few connections of the PostgreSQL server are free; {_MORE}" if scarce else ""
        if {"fsync": self.fsync, "full_page_writes": self.full_page_writes}[name]:
            return ""
        return f"{name} of the PostgreSQL server is off and its crash may lose changes; set {name} to on"


def load_facts(cursor: PostgresCursor) -> ServerFacts:
    """Return the state of the server."""
    return ServerFacts(*cursor.execute(_FACTS).fetchone())
