"""What PostgreSQL's errors mean, in words for people."""

from __future__ import annotations

import re

import psycopg

from confd.controller.store.write_queue import unavailable
from confd.errors import Unavailable

#: The reason once PostgreSQL found damaged pages.
DAMAGED = "it is damaged; restore it from a backup"

#: Stands for the SQLSTATE where no PostgreSQL answers at a port.
_NO_SERVER = "no server"

#: Stand for problems with a pooler.
_NO_OPTIONS, _NO_TRANSACTIONS = "no options", "no transactions"

#: Problems by SQLSTATE: what is wrong, and what to do.
_REASONS = {
    "25006": "it is read-only; connect to the primary server, or make it writable",
    "28000": "the server refuses this user; check the user name and pg_hba.conf",
    "28P01": "the user name or the password is wrong; correct it",
    "3D000": "the server has no such database; create it, or correct the name",
    "42P01": "it lacks a table; restore it from a backup",
    "42501": "the user lacks a privilege; let it own the database",
    "53100": "the disk of the server is full; free some space",
    "53200": "the server is out of memory",
    "53300": "the server has no free connection; raise max_connections, or end other clients",
    "55P03": "another transaction holds a lock; try again",
    "57P01": "the server is shutting down",
    "57P02": "the server is shutting down",
    "57P03": "the server is starting up",
    "XX001": DAMAGED,
    "XX002": DAMAGED,
    _NO_OPTIONS: "a pooler refuses time limits; connect directly, or set ignore_startup_parameters to options",
    _NO_TRANSACTIONS: "the pooler is in statement mode; set its pool_mode to transaction",
    _NO_SERVER: "another program answers there; correct the host and the port",
}

#: Classes of SQLSTATE: the connection, the transaction, limits of the server, an operator.
_CLASSES = {
    "08": "the connection was lost",
    "25": "the connection was idle for too long",
    "40": "it conflicted with another transaction; try again",
    "53": "the server is short of resources",
    "57": "the server ended the connection",
}

#: A server that refuses a connection sends its SQLSTATE, and libpq drops it: only the English message is left.
_REFUSALS = (
    ("password authentication failed|no password supplied|SCRAM authentication", "28P01"),
    (r"role \".*\" does not exist|no pg_hba.conf entry|authentication failed", "28000"),
    (r"database \".*\" does not exist", "3D000"),
    ("too many clients|connection slots are reserved|too many connections", "53300"),
    ("is starting up|in recovery mode", "57P03"),
    ("is shutting down", "57P01"),
    ("permission denied for database", "42501"),
    ("unsupported startup parameter", _NO_OPTIONS),
    ("not allowed in statement pooling mode", _NO_TRANSACTIONS),
    ("no such database", "3D000"),
    ("no such user", "28000"),
    ("no more connections allowed", "53300"),
    ("invalid response to SSL negotiation|expected authentication request", _NO_SERVER),
    ("read-only|hot standby|standby mode|session is not", "25006"),
)

#: Reasons that only a person can mend: a start fails with these, and does not wait.
_FINAL = {_REASONS[each] for each in ("28000", "28P01", "3D000", "42501", _NO_OPTIONS, _NO_TRANSACTIONS)}
UNTRUSTED = "its certificate is not trusted; set sslrootcert to the file of its authority"


class NoAnswer(psycopg.OperationalError):
    """The server did not answer before a deadline."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s")
        self.seconds = seconds


class StorageRefusal(Exception):
    """
    The database must not be used, whatever the server says; the text tells why and what to do.

    @cvar code: of the error that callers get.
    @ivar final: whether only a person can mend it.
    """

    code = "storage_unavailable"

    def __init__(self, reason: str, final: bool = True) -> None:
        super().__init__(reason)
        self.final = final


def explain(error: BaseException | None) -> str | None:
    """Return the problem of the storage, and the remedy; C{None} if C{error} has another cause."""
    if isinstance(error, StorageRefusal):
        return str(error)
    if isinstance(error, NoAnswer):
        return f"it does not answer within {error.seconds:g} s"
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    if state is None or state == "08P01":
        # A pooler has this state for all that it refuses.
        state = _refused_with(str(error)) or state
    if state is not None:
        return _REASONS.get(state) or _CLASSES.get(state[:2])
    if "certificate verify failed" in str(error) or ("certificate" in str(error) and "does not match" in str(error)):
        return UNTRUSTED
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return f"it cannot be reached: {_cause(str(error))}"
    return None


def refusal(error: BaseException | None, reason: str) -> Unavailable:
    """Return the error for a caller of a database that cannot be used."""
    refused = unavailable(reason)
    return Unavailable(error.code, refused.message) if isinstance(error, StorageRefusal) else refused


def is_final(error: BaseException | None) -> bool:
    """Return whether only a person can mend the problem, so that a start fails with it."""
    if isinstance(error, StorageRefusal):
        return error.final
    return explain(error) in _FINAL | {UNTRUSTED}


def _refused_with(message: str) -> str | None:
    for pattern, state in _REFUSALS:
        if re.search(pattern, message):
            return state
    return None


def _cause(message: str) -> str:
    """Return the last line that says what happened; libpq puts hosts and hints around it."""
    lines = [each.strip() for each in message.splitlines() if each.strip()]
    lines = [each for each in lines if not each.startswith(("Is the server running", "Multiple connection attempts"))]
    cause = lines[0].rpartition("failed: ")[2] if lines else "no reason was given"
    return cause.removeprefix("FATAL:").removeprefix("ERROR:").strip().rstrip(".")
