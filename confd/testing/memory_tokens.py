"""API tokens in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import evolve
from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from confd.access.tokens import Token, token_exists, unknown_token
from confd.audit import Attempt
from confd.changes import Committed
from confd.controller.interfaces import ITokenStore
from confd.controller.store.change_log import Written, token_change
from confd.controller.store.database import describe_token
from confd.controller.store.sole import SoleController
from confd.testing.memory_agents import AgentRows


@implementer(ITokenStore)
class TokenRows(AgentRows, SoleController):
    """The part of a L{confd.testing.memory.MemoryStore} that keeps tokens."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens: dict[str, Token] = {}

    def tokens(self) -> Deferred[Sequence[Token]]:
        return execute(lambda: [token for _, token in sorted(self._tokens.items())])

    def create_token(self, token: Token, attempt: Attempt | None = None) -> Deferred[Committed[Token]]:
        return self._audited(attempt, describe_token, self._create_token, token)

    def rotate_token(
        self, token_id: str, digest: bytes, until: datetime | None, attempt: Attempt | None = None
    ) -> Deferred[Committed[Token]]:
        return self._audited(attempt, describe_token, self._rotate_token, token_id, digest, until)

    def revoke_token(self, token_id: str, at: datetime, attempt: Attempt | None = None) -> Deferred[Committed[Token]]:
        return self._audited(attempt, describe_token, self._revoke_token, token_id, at)

    def touch_tokens(self, uses: Mapping[str, tuple[datetime, str]]) -> Deferred[None]:
        return self._write(self._touch_tokens, uses)

    def _create_token(self, token: Token) -> Written[Token]:
        if any(each.name == token.name and each.revoked_at is None for each in self._tokens.values()):
            raise token_exists(token.name)
        return self._put(token)

    def _rotate_token(self, token_id: str, digest: bytes, until: datetime | None) -> Written[Token]:
        token = self._token(token_id)
        if token.revoked_at is not None:
            raise unknown_token(token_id)
        previous = None if until is None else token.digest
        return self._put(evolve(token, digest=digest, previous_digest=previous, previous_until=until))

    def _revoke_token(self, token_id: str, at: datetime) -> Written[Token]:
        token = self._token(token_id)
        if token.revoked_at is not None:
            return Written(token)
        return self._put(evolve(token, revoked_at=at, previous_digest=None, previous_until=None))

    def _touch_tokens(self, uses: Mapping[str, tuple[datetime, str]]) -> None:
        for token_id, (at, source) in uses.items():
            self._tokens[token_id] = evolve(self._token(token_id), last_used_at=at, last_used_from=source)

    def _token(self, token_id: str) -> Token:
        if token_id not in self._tokens:
            raise unknown_token(token_id)
        return self._tokens[token_id]

    def _put(self, token: Token) -> Written[Token]:
        self._tokens[token.id] = token
        return Written(token, [token_change(token)])
