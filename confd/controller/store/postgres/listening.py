"""Hear of changes that other controllers commit, at once where the server says so; the feed reads them in any case."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import psycopg
from psycopg.rows import TupleRow
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.controller.store.postgres.change_rows import CHANNEL
from confd.controller.store.postgres.connection import ConnectionThread
from confd.controller.store.postgres.url import DatabaseUrl
from confd.runtime.reactor import Reactor

#: Seconds between the loss of a connection, or a failed attempt, and the next attempt.
RETRY_SECONDS = 2.0

#: Seconds until an attempt to listen is given up.
LISTEN_DEADLINE_SECONDS = 5.0


@implementer(IReadDescriptor)
class Listening(Service):
    """
    Waits for the hints of the server, on a connection of its own.

    A hint names the controller that committed, and nothing depends on its arrival: a lost connection only makes a
    change wait for the next read of the feed.
    """

    def __init__(self, reactor: Reactor, url: DatabaseUrl, heard: Callable[[str], object]) -> None:
        """
        @param heard: called on the reactor with the id of each controller that committed changes.
        """
        self._reactor, self._heard = reactor, heard
        self._thread = ConnectionThread(reactor, url.connect)
        self._connection: psycopg.Connection[TupleRow] | None = None
        #: A duplicate: libpq closes its own socket when the connection is lost.
        self._socket: socket.socket | None = None
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._begin()

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._lose()

    def close(self) -> None:
        """End the thread and close the connection."""
        self._lose()
        self._thread.close()

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        return "postgres"

    def doRead(self) -> None:
        """Take what the server sent."""
        connection = self._connection
        assert connection is not None
        writers = set[str]()
        try:
            connection.pgconn.consume_input()
            while (notice := connection.pgconn.notifies()) is not None:
                writers.add(notice.extra.decode())
        except psycopg.Error:
            self.connectionLost(Failure())
        for each in writers:
            self._heard(each)

    def connectionLost(self, reason: Failure) -> None:
        if self._connection is not None:
            self._lose()
            self._retry()

    def _begin(self) -> None:
        self._thread.run(_listen, LISTEN_DEADLINE_SECONDS).addCallbacks(self._opened, self._failed)

    def _opened(self, connection: psycopg.Connection[TupleRow]) -> None:
        if not self.running:
            connection.close()
            return
        self._connection, self._socket = connection, socket.socket(fileno=os.dup(connection.fileno()))
        self._reactor.addReader(self)
        # What was sent until now may be in the buffer of the connection.
        self.doRead()

    def _failed(self, failure: Failure) -> None:
        # The writer says why the database cannot be used.
        failure.trap(psycopg.Error)
        self._retry()

    def _retry(self) -> None:
        if self.running:
            self._timer = self._reactor.callLater(RETRY_SECONDS, self._begin)

    def _lose(self) -> None:
        connection, there = self._connection, self._socket
        if connection is not None and there is not None:
            self._reactor.removeReader(self)
            self._connection = self._socket = None
            there.close()
            connection.close()


def _listen(connection: psycopg.Connection[TupleRow]) -> psycopg.Connection[TupleRow]:
    connection.execute(f"LISTEN {CHANNEL}")
    return connection
