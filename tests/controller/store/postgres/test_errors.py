"""What is said of a server that refuses, cannot be reached, or does not answer: one sentence each."""

from __future__ import annotations

import psycopg
from psycopg import errors
from twisted.trial.unittest import SynchronousTestCase

from confd.controller.store.postgres.errors import UNTRUSTED, NoAnswer, StorageRefusal, explain, is_final

#: What libpq says of a connection that it could not open, and the reason for people.
REFUSALS = (
    (
        'connection failed: connection to server at "h", port 5432 failed: FATAL:  password authentication failed for'
        ' user "confd"',
        "the user name or the password is wrong; correct it",
        True,
    ),
    (
        'connection failed: connection to server at "h", port 5432 failed: fe_sendauth: no password supplied',
        "the user name or the password is wrong; correct it",
        True,
    ),
    (
        'connection failed: FATAL:  no pg_hba.conf entry for host "h", user "u", database "d", no encryption',
        "the server refuses this user; check the user name and pg_hba.conf",
        True,
    ),
    (
        'connection failed: connection to server at "h", port 5432 failed: SSL error: certificate verify failed',
        UNTRUSTED,
        True,
    ),
    (
        'connection failed: server certificate for "db1" does not match host name "h"',
        UNTRUSTED,
        True,
    ),
    (
        "connection failed: FATAL:  sorry, too many clients already",
        "the server has no free connection; raise max_connections, or end other clients",
        False,
    ),
    ("connection failed: FATAL:  the database system is starting up", "the server is starting up", False),
    (
        'connection failed: connection to server at "h", port 5432 failed: server is in hot standby mode',
        "it is read-only; connect to the primary server, or make it writable",
        False,
    ),
    (
        'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused\n'
        "\tIs the server running on that host and accepting TCP/IP connections?",
        "it cannot be reached: Connection refused",
        False,
    ),
    (
        'connection failed: connection to server at "127.0.0.1", port 80 failed: received invalid response to SSL'
        " negotiation: H",
        "another program answers there; correct the host and the port",
        False,
    ),
    (
        "[Errno -2] Name or service not known",
        "it cannot be reached: [Errno -2] Name or service not known",
        False,
    ),
)


class ExplainTests(SynchronousTestCase):
    """L{explain} and L{is_final}."""

    def test_refused_connections(self) -> None:
        for message, reason, final in REFUSALS:
            error = psycopg.OperationalError(message)
            self.assertEqual((explain(error), is_final(error)), (reason, final))

    def test_states(self) -> None:
        for kind, begins in (
            (errors.DiskFull, "the disk of the server is full"),
            (errors.ReadOnlySqlTransaction, "it is read-only"),
            (errors.TooManyConnections, "the server has no free connection"),
            (errors.LockNotAvailable, "another transaction holds a lock"),
            (errors.SerializationFailure, "it conflicted with another transaction"),
            (errors.AdminShutdown, "the server is shutting down"),
            (errors.DataCorrupted, "it is damaged"),
            (errors.UndefinedTable, "it lacks a table"),
            (errors.InsufficientPrivilege, "the user lacks a privilege"),
        ):
            self.assertTrue((explain(kind("x")) or "").startswith(begins), kind)

    def test_defects_are_no_problem_of_the_storage(self) -> None:
        for error in (errors.UniqueViolation("x"), errors.SyntaxError("x"), ValueError("x"), None):
            self.assertIsNone(explain(error))

    def test_deadline(self) -> None:
        self.assertEqual(explain(NoAnswer(2.0)), "it does not answer within 2 s")

    def test_refusal(self) -> None:
        for final in (True, False):
            refusal = StorageRefusal("it is wrong", final)
            self.assertEqual((explain(refusal), is_final(refusal)), ("it is wrong", final))
