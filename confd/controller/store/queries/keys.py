"""The signing keys in SQL: functions of a cursor that return values."""

from __future__ import annotations

from confd.codec.signing import SigningKey
from confd.controller.store.cursor import Cursor

#: Keys that are good at the same time: the one in use, and the one before it for what was signed before the change.
KEPT = 2


def load_keys(cursor: Cursor) -> tuple[SigningKey, ...]:
    """Return the valid keys, the current one first."""
    rows = cursor.execute("SELECT private FROM signing_keys ORDER BY id DESC LIMIT ?", (KEPT,)).fetchall()
    return tuple(SigningKey.load(private) for (private,) in rows)


def add_key(cursor: Cursor) -> tuple[SigningKey, ...]:
    """Make a new signing key and forget expired ones; return the valid ones."""
    cursor.execute("INSERT INTO signing_keys (private) VALUES (?)", (SigningKey.generate().private_bytes(),))
    cursor.execute(
        "DELETE FROM signing_keys WHERE id NOT IN (SELECT id FROM signing_keys ORDER BY id DESC LIMIT ?)", (KEPT,)
    )
    return load_keys(cursor)
