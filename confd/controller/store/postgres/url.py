"""The setting C{DATABASE_URL}: what psycopg connects to, and what people may see of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import psycopg
from attrs import evolve, field, frozen
from psycopg.abc import ConnMapping
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from confd.controller.store.postgres.errors import StorageRefusal
from confd.errors import StartError

#: What a connection has unless the URL sets it. A server that is stopped keeps its connections: only the deadlines of
#: confd end those.
_DEFAULTS = {
    "connect_timeout": "2",
    "application_name": "confd",
    "client_encoding": "utf8",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}

#: A setting of confd's own, which tells that C{options} arrived at the server.
_MARK = "confd.direct"

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@frozen
class DatabaseUrl:
    """
    A database to connect to.

    @ivar name: hosts, ports and the name of the database; no secret.
    @ivar conninfo: as libpq takes it; holds the password.
    """

    name: str
    conninfo: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> DatabaseUrl:
        """
        Return what a URL names.

        @raise StartError: in one sentence that begins with C{DATABASE_URL} and does not show the URL.
        """
        try:
            given: ConnMapping = conninfo_to_dict(url)
        except psycopg.Error:
            raise StartError(
                "DATABASE_URL: is not a URL of PostgreSQL; write postgresql://USER@HOST/DATABASE, with special"
                " characters percent-encoded."
            ) from None
        if given.get("target_session_attrs", "primary") != "primary":
            raise StartError("DATABASE_URL: target_session_attrs must be primary; remove it.")
        # libpq says these of a server that cannot be reached, and only then.
        for port in filter(None, str(given.get("port", "")).split(",")):
            if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
                raise StartError("DATABASE_URL: a port must be a whole number from 1 to 65535.")
        if given.get("sslmode", "prefer") not in _SSL_MODES:
            raise StartError(f"DATABASE_URL: sslmode must be one of {', '.join(_SSL_MODES)}.")
        authority = given.get("sslrootcert", "system")
        if authority != "system" and not os.access(str(authority), os.R_OK):
            raise StartError("DATABASE_URL: the file that sslrootcert names cannot be read; correct its path or mode.")
        parameters = {**_DEFAULTS, **given, "target_session_attrs": "primary"}
        return cls(_name(given), make_conninfo("", **parameters))

    def hosts(self) -> Sequence[DatabaseUrl]:
        """Return a URL for each host, in their order; none where the URL has only one."""
        given = conninfo_to_dict(self.conninfo)
        lists = {name: str(given[name]).split(",") for name in ("host", "hostaddr", "port") if name in given}
        count = max((len(each) for each in lists.values()), default=1)
        if count == 1:
            return []
        found = []
        for number in range(count):
            one = {name: each[number if len(each) > 1 else 0] for name, each in lists.items()}
            found.append(evolve(self, conninfo=make_conninfo(self.conninfo, **one)))
        return found

    def connect(self, **timeouts: int) -> psycopg.Connection[TupleRow]:
        """
        Open a connection, which blocks.

        @param timeouts: settings of the server in milliseconds.
        @raise psycopg.Error: if the server cannot be reached or refuses.
        @raise StorageRefusal: if a pooler is between that drops the timeouts, and the user has none.
        """
        options = {"timezone": "UTC", "synchronous_commit": "on", _MARK: "on", **timeouts}
        given = conninfo_to_dict(self.conninfo).get("options") or ""
        text = " ".join([str(given), *(f"-c {name}={value}" for name, value in options.items())])
        connection: psycopg.Connection[TupleRow] = psycopg.connect(self.conninfo, autocommit=True, options=text.strip())
        try:
            _allow_for_pooler(connection, timeouts)
        except BaseException:
            connection.close()
            raise
        return connection


def _allow_for_pooler(connection: psycopg.Connection[TupleRow], timeouts: Mapping[str, int]) -> None:
    """
    Use a connection through a pooler in a way that the pooler supports. A pooler drops C{options}.

    @raise StorageRefusal: if a timeout has no value.
    """
    if connection.execute(f"SELECT current_setting('{_MARK}', true)", prepare=False).fetchone() == ("on",):
        return
    # The next transaction may run on another connection of the pooler, which has not prepared the statement.
    connection.prepare_threshold = None
    names = [each for each in timeouts if each.endswith("_timeout")]
    unset = connection.execute("SELECT 1 FROM pg_settings WHERE name = ANY (%s) AND setting = '0'", (names,))
    if unset.fetchone() is not None:
        raise StorageRefusal(
            f"a pooler drops the time limits of connections; connect directly, or set {', '.join(names)} of the user"
            " with ALTER ROLE"
        )


def _name(given: ConnMapping) -> str:
    hosts = str(given.get("host") or given.get("hostaddr") or "localhost").split(",")
    ports = str(given.get("port") or "5432").split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    shown = ",".join(f"{host or 'localhost'}:{port or '5432'}" for host, port in zip(hosts, ports, strict=True))
    return f"{shown}/{given.get('dbname') or given.get('user') or 'postgres'}"
