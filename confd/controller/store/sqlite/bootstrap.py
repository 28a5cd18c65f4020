"""Open the database at a start: create it only for a new controller, refuse a damaged or foreign one."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing

from attrs import frozen
from twisted.logger import Logger

from confd.controller.store.migrations import NewerSchema, migrate
from confd.controller.store.queries import configs, keys
from confd.controller.store.sqlite.connection import (
    DAMAGED,
    StorageError,
    connect_arguments,
    explain,
    find_damage,
    make_durable,
)
from confd.controller.store.sqlite.identity_file import IdentityFile
from confd.errors import StartError
from confd.model import Draft
from confd.runtime.files import find_other_kind

log = Logger()

#: As C{schema/0001.sql} writes it.
_APPLICATION_ID = 0x636E6664

#: Tables of the Go system: one of these, beside one of agents.
_GO_TABLES = {"active_config", "configurations", "configs"}

#: Bytes up to which a database is searched for damage before it is used; a larger one is searched while it is.
CHECKED_AT_START = 32 * 1024 * 1024

#: What to do about a file that the system keeps from us.
_REMEDY = "let the controller's user read and write it and its folder, or name another file"

#: Seconds that a start waits for another process's lock.
_PATIENCE = 1.0


@frozen
class Opened:
    """
    A database that is ready for use.

    @ivar path: the file, whatever links lead to it.
    @ivar checked: whether it was searched for damage.
    """

    path: str
    identity_file: IdentityFile
    cluster_id: str
    epoch: int
    checked: bool


def open_database(given: str, first: Draft | None, migrations: Sequence[str]) -> Opened:
    """
    Lock a database, and make it, check it or bring it up to date.

    @param given: its path.
    @param first: version 1 of the namespace C{default} of a new one; its poll interval must be set. C{None} refuses to
        make a database.
    @param migrations: the steps of its schema.
    @raise StartError: in one sentence that begins with C{DB_PATH}; nothing is locked then.
    """
    path = os.path.realpath(given)
    try:
        _check_regular(path)
        if not os.path.isdir(os.path.dirname(path)):
            raise _Unusable(f"is in {os.path.dirname(path)}, which is not a folder; create it, or name another file")
        identity_file = IdentityFile(path)
        try:
            return _open(path, identity_file, first, migrations)
        except BaseException:
            identity_file.release()
            raise
    except BlockingIOError:
        raise StartError(f"DB_PATH: {given} is in use by another controller; stop that one first.") from None
    except _Unusable as error:
        raise StartError(f"DB_PATH: {given} {error}.") from None
    except OSError as error:
        raise StartError(f"DB_PATH: {given} cannot be opened: {error.strerror}; {_REMEDY}.") from None
    except (StorageError, sqlite3.Error) as error:
        raise StartError(f"DB_PATH: {given} cannot be used: {explain(error) or error}.") from None


class _Unusable(Exception):
    """What is wrong with the database, to go on after its name."""


def _check_regular(path: str) -> None:
    """
    Refuse a database with a file that is not regular, before opening any.

    @raise _Unusable: if so.
    """
    kind = find_other_kind(path)
    if kind == "a folder":
        raise _Unusable("is a folder; name a file in it")
    if kind is not None:
        raise _Unusable(f"is {kind}; name a file")
    for ending in (".id", "-wal", "-shm", "-journal"):
        kind = find_other_kind(path + ending)
        if kind is not None:
            raise _Unusable(f"cannot be used, since {path}{ending} is {kind}; remove that, or name another file")


def _open(path: str, identity_file: IdentityFile, first: Draft | None, migrations: Sequence[str]) -> Opened:
    expected = identity_file.read()
    size = os.path.getsize(path) if os.path.exists(path) else None
    if size is None and expected:
        raise _Unusable(
            f"is missing, though {identity_file.path} names it; restore it from a backup, or remove that"
            " file too to create a new one"
        )
    if size is None:
        # SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    elif os.stat(path).st_nlink > 1:
        raise _Unusable(
            "is a file with a second name (a hard link), and another controller may use it by that name; remove the "
            "other name, or copy the file"
        )
    identity_file.hold(path)
    checked = (size or 0) <= CHECKED_AT_START
    if checked and size:
        _look_twice(path)
    uri, arguments = connect_arguments(path, _PATIENCE)
    with closing(sqlite3.connect(uri, **arguments)) as connection:
        if _is_blank(connection):
            if expected:
                raise _Unusable(f"is empty, though {identity_file.path} says that it was not; restore it from a backup")
            if first is None:
                raise _Unusable("is empty; name the database of a controller")
            log.info("creating a new database at {path}", path=path)
        make_durable(connection)
        try:
            migrate(connection, migrations)
        except NewerSchema as error:
            raise _Unusable(f"was written by a newer release of confd ({error}); install that one") from None
        cluster_id, epoch = _identify(connection, expected, first)
        if not keys.load_keys(connection):
            keys.add_key(connection)
    _keep(identity_file, expected, cluster_id)
    return Opened(path, identity_file, cluster_id, epoch, checked)


def _look_twice(path: str) -> None:
    """
    Read the whole database; believe in damage only if a fresh connection finds it, too.

    @raise Damaged: if it is damaged.
    """
    uri, arguments = connect_arguments(path, _PATIENCE)
    for last in (False, True):
        try:
            with closing(sqlite3.connect(uri, **arguments)) as connection:
                find_damage(connection)
                return
        except (StorageError, sqlite3.Error) as error:
            if last or explain(error) != DAMAGED:
                raise


def _is_blank(connection: sqlite3.Connection) -> bool:
    """
    Tell whether the database has no table.

    @raise _Unusable: if there are tables of another program.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if tables and application_id != _APPLICATION_ID and "agents" in tables and tables & _GO_TABLES:
        raise _Unusable(
            "is the database of the Go system, which is not changed; name another file, start, and run 'confdctl import"
            " --from go-database FILE' with this one"
        )
    if tables and application_id != _APPLICATION_ID:
        raise _Unusable("is the database of another program; name another file")
    return not tables


def _identify(connection: sqlite3.Connection, expected: str, first: Draft | None) -> tuple[str, int]:
    """Cluster and epoch; in a database that was made just now, or in a start that was cut off, these are given here."""
    found = connection.execute("SELECT cluster_id, epoch FROM meta").fetchone()
    if found is None and expected:
        raise _Unusable("has lost its identity; restore it from a backup")
    if found is None and first is None:
        raise _Unusable("has no identity; start a controller with it first")
    if found is None:
        assert first
        found = (str(uuid.uuid4()), 1)
        connection.execute("BEGIN IMMEDIATE")
        cursor = connection.execute("INSERT INTO meta VALUES (1, ?, ?)", found)
        configs.create_namespace(cursor, first)
        connection.execute("COMMIT")
    cluster_id, epoch = found
    return cluster_id, epoch


def _keep(identity_file: IdentityFile, expected: str, cluster_id: str) -> None:
    """Let the marker name the cluster, and no other."""
    if expected == cluster_id:
        return
    named = [line for line in expected.split() if _is_uuid(line)]
    if named and cluster_id not in named:
        raise _Unusable(
            f"belongs to the cluster {cluster_id}, and {identity_file.path} names {' and '.join(named)}; put the right "
            "database back, or remove that file to accept this one"
        )
    identity_file.write(cluster_id)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
