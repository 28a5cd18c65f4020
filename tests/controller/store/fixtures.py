"""Databases to test with: real files, in a folder of the test's own."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.sqlite.bootstrap import Opened, open_database
from confd.controller.store.sqlite.connection import connect_arguments
from confd.controller.store.sqlite.store import SqliteStore
from confd.testing import a_draft

#: Version 1 of the databases here.
FIRST = a_draft(1, poll_interval=30)


class ClockAndThreads:
    """The threads of the real reactor, and timers that a test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater, self.seconds = self.clock.callLater, self.clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


def new_path(test: SynchronousTestCase) -> str:
    """Where a database can be made."""
    folder = test.mktemp()
    os.makedirs(folder)
    return os.path.abspath(os.path.join(folder, "controller.db"))


def make_database(path: str) -> Opened:
    """Open a database, or make it; it is free for others when this returns."""
    opened = open_database(path, FIRST, shipped_migrations())
    opened.identity_file.release()
    return opened


def connect(test: SynchronousTestCase, path: str) -> sqlite3.Connection:
    """A connection of the test's own, which waits for its turn: the threads of a store lock it while they open it."""
    uri, arguments = connect_arguments(path, 30)
    connection = sqlite3.connect(uri, **arguments)
    test.addCleanup(connection.close)
    return connection


def lock(test: SynchronousTestCase, path: str) -> sqlite3.Connection:
    """Lock a database as another process would; C{rollback} of what this returns ends it."""
    connection = connect(test, path)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def damage(path: str, offset: int) -> None:
    """Overwrite a few bytes."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * 200)


def damage_agents(test: SynchronousTestCase, path: str) -> None:
    """Overwrite the table of agents, which nothing reads at a start."""
    connection = connect(test, path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'agents'").fetchone()
    connection.close()
    damage(path, (page - 1) * 4096)


def started(test: SynchronousTestCase, path: str, **rest: Any) -> SqliteStore:
    """A store that runs until the test is over, or L{ended}."""
    store = SqliteStore(rest.pop("reactor", reactor), path, rest.pop("first", FIRST), **rest)
    store.startService()
    test.addCleanup(ended, store)
    return store


def ended(store: SqliteStore) -> Deferred[None]:
    """End a store as the end of its process would."""
    if not store.running:
        return maybeDeferred(lambda: None)
    return maybeDeferred(store.stopService).addBoth(lambda _: store.close())


async def until(condition: Any) -> None:
    """Wait for something that a thread brings about; trial ends a test that waits in vain."""
    while not condition():
        await deferLater(reactor, 0.005)
