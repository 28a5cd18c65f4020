"""The API tokens that authenticate callers, kept in memory; they follow the change feed."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.access.tokens import Token, unknown_token
from confd.audit import Attempt
from confd.changes import TOKEN, Change, Committed, Contents
from confd.controller.access.grants import decode_grants, encode_grants
from confd.controller.feed import Feed
from confd.controller.interfaces import ITokenStore
from confd.errors import Unauthenticated, Unavailable
from confd.interfaces import IChangeListener
from confd.runtime.metrics import Metrics
from confd.runtime.problem import Problem
from confd.runtime.signal import Signal
from confd.runtime.timing import Periodic
from confd.runtime.write_behind import WriteBehind
from confd.web.auth.api_tokens import IApiTokens, token_id_of
from confd.web.auth.principals import CLUSTER, Grant, Permission, Principal
from confd.web.auth.throttle import HERE, Throttle

#: Random bytes of a secret.
_SECRET_BYTES = 32

#: Seconds between two notes of the use of a token, and between two looks for expired tokens.
NOTE_SECONDS, ROUND_SECONDS = 60.0, 1.0

#: Days ahead in which a token counts as expiring.
EXPIRING_DAYS = 7

_NO_ADMIN = "ADMIN_PASSWORD is empty, and no token has the role admin; start once with ADMIN_PASSWORD set."

#: The results of requests with API tokens, as the metric names them.
RESULTS = ("ok", "wrong", "expired")


@define(eq=False)
class _LiveToken:
    """
    A token that is not revoked.

    @ivar who: the name of its callers in the audit log.
    @ivar used_from: the source of its last use that is not noted yet; C{None} if it was not used since.
    @ivar uses: requests that it authenticated.
    @ivar noted: when its use was noted last, in seconds of the monotonic clock.
    """

    token: Token
    principal: Principal
    who: str
    used_from: str | None = None
    uses: int = 0
    noted: float = float("-inf")

    def use(self, source: str) -> None:
        """Count a request."""
        self.uses += 1
        self.used_from = source

    def valid_until(self, digest: bytes) -> datetime | None:
        """Return when an accepted digest becomes invalid; C{None} for never."""
        ends = [self.token.expires_at]
        if digest != self.token.digest:
            ends.append(self.token.previous_until)
        return min((each for each in ends if each is not None), default=None)

    def accepts(self, proves: Callable[[bytes], bool], now: datetime) -> bool:
        """
        Return whether a caller proves the secret, or the secret before while that is valid.

        @param proves: whether the caller has the secret with a digest.
        """
        token = self.token
        previous, until = token.previous_digest, token.previous_until
        if proves(token.digest):
            return True
        return previous is not None and until is not None and now < until and proves(previous)

    def ends_between(self, before: datetime, now: datetime) -> bool:
        """Return whether the token, or the secret before, became invalid in a span of time."""
        ends = (self.token.expires_at, self.token.previous_until)
        return any(each is not None and before < each <= now for each in ends)


@implementer(IApiTokens, IChangeListener)
class ApiTokens(Service):
    """
    Authenticates callers by API tokens, and changes the tokens.

    @ivar ended: gets the name of each caller, as the audit log has it, whose token or secret became invalid.
    """

    log = Logger()

    def __init__(
        self,
        store: ITokenStore,
        clock: IReactorTime,
        now: Callable[[], datetime],
        throttle: Throttle,
        tokens_only: bool = False,
    ) -> None:
        """
        @param now: the wall clock, by which tokens expire.
        @param throttle: limits wrong secrets.
        @param tokens_only: whether only a token makes an admin, because the password of the admin is empty.
        """
        self._store, self._clock, self._now, self._throttle = store, clock, now, throttle
        #: The tokens that are not revoked, by id; C{None} until they are loaded.
        self._live: dict[str, _LiveToken] | None = None
        self._uses = WriteBehind(clock, ROUND_SECONDS, store.touch_tokens, "times of the last use of tokens")
        self._rounds = Periodic(clock, self._round, lambda: ROUND_SECONDS)
        self._looked_at: datetime | None = None
        self._results: Counter[str] = Counter()
        #: Requests that tokens authenticated that were changed or revoked since.
        self._uses_before = 0
        self._tokens_only, self._admin = tokens_only, Problem("no_admin", self.log)
        self.ended = Signal()
        #: Reads the newest changes of the store, and tells how old memory is; set once the feed is made.
        self.feed: Feed | None = None
        self._stale = False

    def expose(self, metrics: Metrics) -> None:
        """Add the metrics of tokens."""
        metrics.gauge(
            "confd_tokens_expiring",
            "API tokens that expire within so many days, expired tokens not included.",
            lambda: {(str(EXPIRING_DAYS),): self._count_expiring()},
            "days",
        )
        metrics.counter(
            "confd_token_requests",
            "Requests that presented an API token, by the result of the check.",
            lambda: {(each,): self._count(each) for each in RESULTS},
            "result",
        )

    def startService(self) -> None:
        super().startService()
        self._uses.startService()
        self._rounds.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return maybeDeferred(self._rounds.stopService).addCallback(lambda _: self._uses.stopService())

    async def load_rows(self) -> None:
        """Read all tokens."""
        found = await self._store.tokens()
        self._live = {each.id: _live(each) for each in found if each.revoked_at is None}

    def load(self, contents: Contents) -> None: ...

    def apply(self, change: Change) -> None:
        if change.kind != TOKEN or self._live is None:
            return
        token: Token = change.value
        before = self._live.pop(token.id, None)
        self._uses_before += 0 if before is None else before.uses
        if token.revoked_at is None:
            self._live[token.id] = _live(token)
        if before is not None and not (token.revoked_at is None and token.previous_digest == before.token.digest):
            self.ended.notify(before.who)

    def prepare(self, token_id: str) -> Deferred[None] | None:
        # All secrets share the look, which the feed limits, so that unknown secrets cannot flood the store.
        if self.feed is None or self._live is None or token_id in self._live:
            return None
        refreshed: Deferred[None] = self.feed.refresh()
        return None if refreshed.called and not isinstance(refreshed.result, Failure) else refreshed

    def identify(self, secret: bytes, source: str) -> Principal:
        live, now = self._find_fresh(token_id_of(secret)), self._now()
        if live is None or not live.accepts(partial(hmac.compare_digest, _digest(secret)), now):
            self._results["wrong"] += 1
            self._throttle.fail(source)
            raise Unauthenticated("wrong_credentials", "The token is wrong or revoked; ask an admin for another one.")
        self._throttle.succeed(source, live.who)
        expires_at = live.principal.expires_at
        if expires_at is not None and now >= expires_at:
            self._results["expired"] += 1
            raise Unauthenticated("token_expired", "The token has expired; ask an admin for another one.")
        live.use(source)
        return live.principal

    def resume(self, token_id: str, proves: Callable[[bytes], bool], source: str) -> Principal | None:
        live, now = self._find_fresh(token_id), self._now()
        if live is None or not live.accepts(proves, now):
            return None
        if live.token.expires_at is not None and now >= live.token.expires_at:
            return None
        live.use(source)
        return live.principal

    def recognizes(self, secret: bytes) -> Callable[[str], bool]:
        digest, live, all_live = _digest(secret), self._find(token_id_of(secret)), self._live
        if live is None or all_live is None or not live.accepts(partial(hmac.compare_digest, digest), self._now()):
            return lambda source: False
        token_id, until = live.token.id, live.valid_until(digest)

        def recognized(source: str) -> bool:
            # This runs for each poll. A change of the token puts another object in its place.
            if self._stale or self._live is not all_live or all_live.get(token_id) is not live:
                return False
            if (until is not None and self._now() >= until) or not self._throttle.knows(source, live.who):
                return False
            live.use(source)
            return True

        return recognized

    def no_admin(self) -> str:
        """Return a sentence if no caller can be an admin now; empty otherwise, and until the tokens are loaded."""
        if not self._tokens_only or self._live is None:
            return ""
        now = self._now()
        for each in self._live.values():
            ends = each.token.expires_at
            if (ends is None or now < ends) and each.principal.may(Permission.ADMIN, CLUSTER):
                return ""
        return _NO_ADMIN

    async def all(self) -> Sequence[Token]:
        """Return all tokens by id, revoked tokens included."""
        found: Sequence[Token] = await self._store.tokens()
        return found

    async def get(self, token_id: str) -> Token:
        """
        Return a token.

        @raise NotFound: C{unknown_token}.
        """
        for each in await self.all():
            if each.id == token_id:
                return each
        raise unknown_token(token_id)

    def create(
        self, name: str, subject: str, grants: Sequence[Grant], expires_in: int | None, attempt: Attempt
    ) -> tuple[str, Deferred[Committed[Token]]]:
        """
        Create a token.

        @param expires_in: seconds; C{None} for never.
        @return: the secret, which nothing keeps, and what L{ITokenStore.create_token} returns.
        """
        token_id, now = secrets.token_hex(4), self._now()
        secret = _new_secret(token_id)
        expires_at = None if expires_in is None else now + timedelta(seconds=expires_in)
        digest = _digest(secret.encode())
        token = Token(token_id, name, subject, digest, encode_grants(grants), now, attempt.who, expires_at)
        return secret, self._store.create_token(token, attempt)

    def rotate(self, token_id: str, overlap: int, attempt: Attempt) -> tuple[str, Deferred[Committed[Token]]]:
        """
        Give a token another secret.

        @param overlap: seconds for which the old secret stays valid.
        @return: the secret, which nothing keeps, and what L{ITokenStore.rotate_token} returns.
        """
        until = self._now() + timedelta(seconds=overlap) if overlap else None
        secret = _new_secret(token_id)
        return secret, self._store.rotate_token(token_id, _digest(secret.encode()), until, attempt)

    def revoke(self, token_id: str, attempt: Attempt) -> Deferred[Committed[Token]]:
        """Revoke a token: see L{ITokenStore.revoke_token}."""
        revoked: Deferred[Committed[Token]] = self._store.revoke_token(token_id, self._now(), attempt)
        return revoked

    def _find_fresh(self, token_id: str) -> _LiveToken | None:
        """
        Return a token, where memory follows the store.

        @raise Unavailable: C{controller_stale}.
        """
        if self.feed is not None:
            self.feed.check_fresh()
        return self._find(token_id)

    def _find(self, token_id: str) -> _LiveToken | None:
        if self._live is None:
            raise Unavailable("starting", "The controller is starting; the tokens are not loaded yet.")
        return self._live.get(token_id)

    def _round(self) -> None:
        """Note the uses of tokens, and announce the tokens that ended."""
        missing = self.no_admin()
        if missing:
            self._admin.begin(missing)
        else:
            self._admin.end()
        self._stale = self.feed is not None and self.feed.problem() is not None
        now, seconds = self._now(), self._clock.seconds()
        before, self._looked_at = self._looked_at or now, now
        for live in list((self._live or {}).values()):
            if live.used_from is not None and seconds >= live.noted + NOTE_SECONDS:
                self._uses.put(live.token.id, (now, "localhost" if live.used_from == HERE else live.used_from))
                live.used_from, live.noted = None, seconds
            if live.ends_between(before, now):
                self.ended.notify(live.who)

    def _count(self, result: str) -> int:
        live = sum(each.uses for each in (self._live or {}).values()) + self._uses_before
        return live if result == "ok" else self._results[result]

    def _count_expiring(self) -> int:
        now = self._now()
        soon = now + timedelta(days=EXPIRING_DAYS)
        ends = [each.token.expires_at for each in (self._live or {}).values()]
        return sum(each is not None and now < each <= soon for each in ends)


def _live(token: Token) -> _LiveToken:
    grants = decode_grants(token.grants)
    principal = Principal(token.name, token.subject, "token", grants, "", token.id, token.expires_at)
    return _LiveToken(token, principal, principal.who)


def _new_secret(token_id: str) -> str:
    return f"confd_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
