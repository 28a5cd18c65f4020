"""
Read the database of the Go system: its current document, the number of that version, and the versions before it.

The releases of the Go system name tables and columns differently. A table is recognized by its content: a column
C{version} and a column of JSON objects.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from attrs import define, frozen

from confd.cli.errors import CommandError, Exit
from confd.codec.strict_json import JsonObject, JsonValue
from confd.model import POLL_INTERVAL_MAX, POLL_INTERVAL_MIN

#: Older versions that are imported.
_MAX_PAST_VERSIONS = 999
#: Bytes of all their documents.
_MAX_PAST_BYTES = 512 * 1024

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(?: ?(Z|[+-]\d\d:?\d\d)\b.*)?")


@frozen
class GoVersion:
    """
    A version of the Go system.

    @ivar created_at: RFC 3339 time; empty if the database has none.
    """

    version: int
    config: JsonObject
    created_at: str


@frozen
class GoHistory:
    """
    The content of the database.

    @ivar past: the versions before the current one, ascending and without a gap.
    @ivar poll_interval: seconds; C{None} if the database has none that confd accepts.
    """

    current: GoVersion
    past: Sequence[GoVersion]
    poll_interval: int | None


@define
class _Table:
    """A table of versions, and the names of its columns; empty for a column that it lacks."""

    name: str
    document: str
    interval: str
    time: str


def read_go_database(path: str) -> GoHistory:
    """
    Read a database without writing to it.

    @raise CommandError: the file is missing, or has no version of a document.
    """
    if not os.path.isfile(path):
        raise CommandError(Exit.USAGE, f"{path} is not a file; name the SQLite database of the Go controller.")
    # Without a log, no other process has unfinished writes.
    log = f"{path}-wal"
    access = "mode=ro" if os.path.exists(log) and os.path.getsize(log) else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"file:{quote(os.path.abspath(path))}?{access}", uri=True)) as connection:
            return _read(connection, path)
    except sqlite3.Error as error:
        raise CommandError(Exit.USAGE, f"{path} cannot be read as a SQLite database: {error}.") from None


def _read(connection: sqlite3.Connection, path: str) -> GoHistory:
    tables = list(_tables(connection))
    if not tables:
        raise CommandError(
            Exit.USAGE,
            f"{path} has no table with a column 'version' and a column of JSON objects; name the database of a Go"
            " controller.",
        )
    # The Go system keeps the interval beside the current document only.
    tables.sort(key=lambda table: not table.interval)
    found = [(table, row) for table in tables[:2] for row in _newest(connection, table)]
    if not found:
        names = ", ".join(table.name for table in tables)
        raise CommandError(
            Exit.USAGE, f"{path} has no version of a document in its tables {names}; name another database."
        )
    table, row = found[0]
    current = _version(row)
    if current is None:
        raise CommandError(
            Exit.INVALID,
            f"The current document in {path}, in the table {table.name}, is not a JSON object; correct it first.",
        )
    past = _past(connection, tables, current.version)
    interval = row[3] if isinstance(row[3], int) and POLL_INTERVAL_MIN <= row[3] <= POLL_INTERVAL_MAX else None
    return GoHistory(current, past, interval)


def _tables(connection: sqlite3.Connection) -> Iterator[_Table]:
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})")]
        rows = connection.execute(f"SELECT * FROM {_quoted(name)} LIMIT 20").fetchall()
        documents = [
            column for place, column in enumerate(columns) if any(_document(row[place]) is not None for row in rows)
        ]
        if "version" in columns and (documents or not rows):
            yield _Table(
                name,
                documents[0] if documents else "version",
                next((column for column in columns if "interval" in column), ""),
                next((column for column in ("updated_at", "created_at") if column in columns), ""),
            )


def _rows(table: _Table) -> str:
    """Return the query for version, document, time and interval of a table."""
    others = (f"CAST({_quoted(column)} AS TEXT)" if column else "NULL" for column in (table.document, table.time))
    interval = _quoted(table.interval) if table.interval else "NULL"
    which = f"FROM {_quoted(table.name)} WHERE typeof(version) = 'integer' AND version > 0"
    return f"SELECT version, {', '.join(others)}, {interval} {which}"


def _newest(connection: sqlite3.Connection, table: _Table) -> list[tuple[JsonValue, ...]]:
    return connection.execute(f"{_rows(table)} ORDER BY version DESC LIMIT 1").fetchall()


def _past(connection: sqlite3.Connection, tables: Sequence[_Table], number: int) -> Sequence[GoVersion]:
    """Return the versions before C{number}, back to the first that is missing or unreadable."""
    found: list[GoVersion] = []
    size = 0
    for table in tables:
        if table.interval:
            continue
        rows = connection.execute(
            f"{_rows(table)} AND version < ? ORDER BY version DESC LIMIT ?", (number, _MAX_PAST_VERSIONS)
        )
        for row in rows:
            version, size = _version(row), size + len(row[1] or "")
            if (
                version is None
                or version.version != number - 1
                or size > _MAX_PAST_BYTES
                or len(found) == _MAX_PAST_VERSIONS
            ):
                break
            found.append(version)
            number = version.version
    return found[::-1]


def _version(row: Sequence[JsonValue]) -> GoVersion | None:
    document = _document(row[1])
    return None if document is None else GoVersion(row[0], document, _time(row[2]))


def _document(value: object) -> JsonObject | None:
    """Return the JSON object in a column; C{None} if the column has another value."""
    if not isinstance(value, str | bytes):
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _time(text: str | None) -> str:
    """Return a time of a SQLite driver for Go, which may have nine decimals, as RFC 3339; empty if it is malformed."""
    found = _TIME.fullmatch(text or "")
    if found is None:
        return ""
    day, second, fraction, zone = found.groups()
    zone = (zone or "Z").replace("Z", "+00:00")
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:])) * (-1 if zone[0] == "-" else 1)
    try:
        moment = datetime.fromisoformat(f"{day}T{second}.{(fraction or '0').ljust(6, '0')}")
        return moment.replace(tzinfo=timezone(offset)).isoformat()
    except ValueError:
        return ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
