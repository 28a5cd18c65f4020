"""Tell whether commits reach a standby: a server without one acknowledges what the loss of its machine takes along."""

from __future__ import annotations

from confd.controller.store.postgres.cursor import PostgresCursor
from confd.controller.store.postgres.errors import StorageRefusal


class NotReplicated(StorageRefusal):
    """The server has no synchronous standby, and C{DATABASE_DURABILITY} asks for one."""

    code = "not_replicated"

    def __init__(self) -> None:
        super().__init__(
            "DATABASE_DURABILITY is replicated, and the server has no synchronous standby; name one in"
            " synchronous_standby_names",
            final=False,
        )


class NoStandby(StorageRefusal):
    """Commits wait for a standby that does not answer."""

    def __init__(self) -> None:
        super().__init__(
            "no standby confirms its commits; mend the standby, or remove it from synchronous_standby_names",
            final=False,
        )


def check_replication(cursor: PostgresCursor) -> None:
    """
    Check that commits wait for a standby; a standby that is away makes them wait.

    @raise NotReplicated: if they wait for none.
    """
    (names,) = cursor.execute("SELECT current_setting('synchronous_standby_names')").fetchone()
    if not names.strip():
        raise NotReplicated


def awaits_standby(cursor: PostgresCursor) -> bool:
    """Return whether a commit of this user waits for a standby."""
    (found,) = cursor.execute(
        """SELECT EXISTS (SELECT 1 FROM pg_stat_activity
        WHERE wait_event = 'SyncRep' AND datname = current_database() AND usename = current_user)"""
    ).fetchone()
    return bool(found)
