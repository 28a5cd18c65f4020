"""API tokens in SQL: functions of a cursor that return values, and run in the thread of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from confd.access.tokens import Token, token_exists, unknown_token
from confd.codec.headers import parse_rfc3339, rfc3339
from confd.controller.store.change_log import Written, token_change
from confd.controller.store.cursor import Cursor, Row

_COLUMNS = (
    "id, name, subject, digest, grants, created_at, created_by, expires_at, revoked_at, previous_digest,"
    " previous_until, last_used_at, last_used_from"
)


def load(cursor: Cursor) -> Sequence[Token]:
    """Return all tokens, by id."""
    return [_token(row) for row in cursor.execute(f"SELECT {_COLUMNS} FROM tokens ORDER BY id").fetchall()]


def find_tokens(cursor: Cursor, ids: Sequence[str]) -> Mapping[str, Token]:
    """Return tokens by id; an id that no token has is left out."""
    found = [cursor.execute(f"SELECT {_COLUMNS} FROM tokens WHERE id = ?", (each,)).fetchone() for each in ids]
    return {token.id: token for row in found if row is not None for token in [_token(row)]}


def create(cursor: Cursor, token: Token) -> Written[Token]:
    """
    Insert a token.

    @raise Conflict: C{token_exists}.
    """
    cursor.execute(
        """INSERT INTO tokens (id, name, subject, digest, grants, created_at, created_by, expires_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
        (
            token.id,
            token.name,
            token.subject,
            token.digest,
            token.grants,
            rfc3339(token.created_at),
            token.created_by,
            rfc3339(token.expires_at),
        ),
    )
    if not cursor.rowcount:
        raise token_exists(token.name)
    return _written(_find(cursor, token.id))


def rotate(cursor: Cursor, token_id: str, digest: bytes, until: datetime | None) -> Written[Token]:
    """
    Replace the secret of a token.

    @param until: when the secret before becomes invalid; C{None} for at once.
    @raise NotFound: C{unknown_token}.
    """
    before = _find(cursor, token_id)
    if before.revoked_at is not None:
        raise unknown_token(token_id)
    cursor.execute(
        "UPDATE tokens SET digest = ?, previous_digest = ?, previous_until = ? WHERE id = ?",
        (digest, None if until is None else before.digest, rfc3339(until), token_id),
    )
    return _written(_find(cursor, token_id))


def revoke(cursor: Cursor, token_id: str, at: datetime) -> Written[Token]:
    """
    Revoke a token; a revoked token stays as it is.

    @raise NotFound: C{unknown_token}.
    """
    before = _find(cursor, token_id)
    if before.revoked_at is not None:
        return Written(before)
    cursor.execute(
        "UPDATE tokens SET revoked_at = ?, previous_digest = NULL, previous_until = NULL WHERE id = ?",
        (rfc3339(at), token_id),
    )
    return _written(_find(cursor, token_id))


def touch(cursor: Cursor, uses: Mapping[str, tuple[datetime, str]]) -> None:
    """Set when and from where tokens were used last."""
    for token_id, (at, source) in uses.items():
        cursor.execute(
            "UPDATE tokens SET last_used_at = ?, last_used_from = ? WHERE id = ?", (rfc3339(at), source, token_id)
        )


def _written(token: Token) -> Written[Token]:
    return Written(token, [token_change(token)])


def _find(cursor: Cursor, token_id: str) -> Token:
    row = cursor.execute(f"SELECT {_COLUMNS} FROM tokens WHERE id = ?", (token_id,)).fetchone()
    if row is None:
        raise unknown_token(token_id)
    return _token(row)


def _token(row: Row) -> Token:
    (id_, name, subject, digest, grants, created, created_by, expires, revoked, previous, until, used, source) = row
    return Token(
        id_,
        name,
        subject,
        bytes(digest),
        grants,
        parse_rfc3339(created),
        created_by,
        _moment(expires),
        _moment(revoked),
        None if previous is None else bytes(previous),
        _moment(until),
        _moment(used),
        source,
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_rfc3339(text)
