"""One connection to PostgreSQL and the thread that uses it, with a deadline for all that the thread does."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psycopg
from psycopg.rows import TupleRow
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from confd.controller.store.postgres.errors import NoAnswer, StorageRefusal
from confd.runtime.reactor import Reactor

T = TypeVar("T")

# It warns of pipelines that a lost connection ends; the callers report the loss.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class ConnectionThread:
    """
    A connection that is opened when it is needed, and used by one thread.

    After each error of the connection the next work gets a new connection. Works run in the order of their arrival.
    """

    def __init__(
        self, reactor: Reactor, connect: Callable[[], psycopg.Connection[TupleRow]], repeats: bool = False
    ) -> None:
        """
        @param connect: opens the connection; called in the thread. It has a deadline of its own.
        @param repeats: whether to do a work again if the connection was lost before the work; for works that only read.
        """
        self._reactor, self._connect = reactor, connect
        self._threads = ThreadPool(0, 1, "postgres")
        self._threads.start()
        self._repeats = repeats
        self._ended = self._late = False
        #: Who ends the threads as the reactor ends, as adbapi does.
        self._trigger = reactor.addSystemEventTrigger("during", "shutdown", self._stop)
        self._connection: psycopg.Connection[TupleRow] | None = None
        #: A duplicate of the connection's socket, which the reactor may shut down.
        self._socket: socket.socket | None = None

    def run(self, work: Callable[[psycopg.Connection[TupleRow]], T], deadline: float) -> Deferred[T]:
        """
        Run a work in the thread.

        @param deadline: seconds until the connection is cut, whatever the server does. The server is not asked to
            cancel anything: a cancelled commit that waits for a standby would count as replicated.
        @raise psycopg.Error: if the server fails, cannot be reached, or does not answer before the deadline.
        """
        self._late = False
        done: Deferred[T] = deferToThreadPool(self._reactor, self._threads, self._use, work)
        timer = self._reactor.callLater(deadline, self._cut)

        def ended(result: T | Failure) -> T | Failure:
            if timer.active():
                timer.cancel()
            elif isinstance(result, Failure) and result.check(psycopg.OperationalError):
                return Failure(NoAnswer(deadline))
            return result

        return done.addBoth(ended)

    def close(self) -> None:
        """Cut the connection and end the thread."""
        if not self._ended:
            self._reactor.removeSystemEventTrigger(self._trigger)
            self._stop()

    def _stop(self) -> None:
        self._ended = True
        self._cut()
        self._threads.stop()
        self._drop()

    def _cut(self) -> None:
        """Wake the thread, wherever it waits for the server; keepalives do not help against a stopped server."""
        there, self._late = self._socket, True
        if there is not None:
            with suppress(OSError):
                there.shutdown(socket.SHUT_RDWR)

    def _use(self, work: Callable[[psycopg.Connection[TupleRow]], T]) -> T:
        connection, new = self._connection, False
        if connection is None or connection.closed:
            self._drop()
            connection, new = self._connect(), True
            self._connection = connection
            self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        try:
            return work(connection)
        except (psycopg.OperationalError, psycopg.InterfaceError, StorageRefusal):
            lost = connection.broken
            # Another host may do better.
            self._drop()
            if new or self._late or not (lost and self._repeats):
                raise
        return self._use(work)

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        if self._socket is not None:
            self._socket.close()
        self._connection = self._socket = None
