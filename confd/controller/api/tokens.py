"""Endpoints of API tokens, and of what a caller may do."""

from __future__ import annotations

import re
from typing import Annotated, TypedDict

import msgspec
from attrs import define

from confd.access.tokens import Token
from confd.codec import strict_json
from confd.codec.headers import rfc3339
from confd.codec.strict_json import JsonObject
from confd.controller.access.api_tokens import ApiTokens
from confd.controller.access.grants import decode_grants, describe_grants, effective_permissions, parse_grants
from confd.controller.api.change_options import bad_field
from confd.controller.feed import Feed
from confd.errors import Conflict, NotFound, Unavailable, Unprocessable
from confd.web.api.endpoint import Answer, Call, Open, Scope, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs, MessageBody, Moment, written_as

#: A name of a token.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

#: The longest subject in characters; the shortest and the longest life of a token, and the longest overlap, in seconds.
MAX_SUBJECT_CHARS, MIN_LIFE_SECONDS, MAX_LIFE_SECONDS, MAX_OVERLAP_SECONDS = 128, 60, 157_680_000, 604_800

#: The chapter of the API document.
ACCESS = "access"


class GrantRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A role in namespaces: names, or prefixes that end with one C{*}."""

    role: str
    namespaces: list[str]


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """A token to create. It never expires without C{expires_in}, which is in seconds."""

    name: Annotated[str, written_as(_NAME)]
    grants: list[GrantRequest]
    subject: Annotated[str, msgspec.Meta(max_length=MAX_SUBJECT_CHARS)] = ""
    expires_in: Annotated[int, msgspec.Meta(ge=MIN_LIFE_SECONDS, le=MAX_LIFE_SECONDS)] | None = None


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    """The seconds for which the old secret stays valid."""

    overlap: Annotated[int, msgspec.Meta(ge=0, le=MAX_OVERLAP_SECONDS)] = 0


class GrantItem(TypedDict):
    """A role in namespaces."""

    role: str
    namespaces: list[str]


class TokenItem(TypedDict):
    """
    A token, without its secret.

    C{subject} is the person or team that answers for the token. C{last_used_at} may be a minute old.
    """

    id: str
    name: str
    subject: str
    grants: list[GrantItem]
    created_at: Moment
    created_by: str
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None
    last_used_from: str | None


class NewTokenBody(TokenItem):
    """A token with its secret, which is shown this once."""

    token: str


class TokensBody(TypedDict):
    """All tokens."""

    items: list[TokenItem]


class WhoamiBody(TypedDict):
    """A caller. C{permissions} has the permissions for each name or pattern of namespaces in the grants."""

    name: str
    subject: str
    kind: str
    grants: list[GrantItem]
    permissions: dict[str, list[str]]
    expires_at: Moment | None


@define(eq=False)
class TokensApi:
    """Shows and changes tokens."""

    _tokens: ApiTokens
    _feed: Feed

    @endpoint("GET", "/api/v1/whoami", Open.CALLER, "Who the caller is.", docs=Docs(tag=ACCESS))
    async def whoami(self, call: Call) -> WhoamiBody:
        """Return the grants and permissions of the caller; clients offer only what these allow."""
        principal = call.principal
        return {
            "name": principal.name,
            "subject": principal.subject,
            "kind": principal.kind,
            "grants": _items(describe_grants(principal.grants)),
            "permissions": dict(effective_permissions(principal)),
            "expires_at": rfc3339(principal.expires_at),
        }

    @endpoint("GET", "/api/v1/tokens", Permission.ADMIN, "All tokens.", docs=Docs(errors=(Unavailable,), tag=ACCESS))
    async def list_tokens(self, call: Call) -> TokensBody:
        """List the tokens by id, revoked tokens included, without their secrets."""
        return {"items": [token_item(each) for each in await self._tokens.all()]}

    @endpoint(
        "GET",
        "/api/v1/tokens/<token_id>",
        Permission.ADMIN,
        "One token.",
        docs=Docs(errors=(NotFound, Unavailable), tag=ACCESS),
    )
    async def token(self, call: Call, token_id: str) -> TokenItem:
        """Show a token."""
        return token_item(await self._tokens.get(token_id))

    @endpoint(
        "POST",
        "/api/v1/tokens",
        Permission.ADMIN,
        "Create a token.",
        body=NewToken,
        named_by="name",
        docs=Docs(
            {201: NewTokenBody},
            (Conflict, Unprocessable, Unavailable),
            example={"name": "ci-billing", "grants": [{"role": "publisher", "namespaces": ["billing"]}]},
            tag=ACCESS,
        ),
    )
    async def create_token(self, call: Call) -> Answer:
        """Create a token. The secret is in this response only: the store keeps its SHA-256."""
        wanted: NewToken = call.body
        if _NAME.fullmatch(wanted.name) is None:
            raise bad_field("name", "A token is named by 1 to 63 lower-case letters, digits and dashes.")
        if not wanted.subject.isprintable():
            raise bad_field("subject", "A subject has printable characters only.")
        grants = parse_grants([(each.role, each.namespaces) for each in wanted.grants])
        assert call.attempt is not None
        subject = wanted.subject or wanted.name
        secret, written = self._tokens.create(wanted.name, subject, grants, wanted.expires_in, call.attempt)
        return _with_secret(await self._feed.follow(written), secret, 201)

    @endpoint(
        "DELETE",
        "/api/v1/tokens/<token_id>",
        Permission.ADMIN,
        "Revoke a token.",
        docs=Docs(errors=(NotFound,), tag=ACCESS),
    )
    async def revoke_token(self, call: Call, token_id: str) -> MessageBody:
        """Revoke a token for ever. Its streams end at once; a revoked token may be revoked again."""
        assert call.attempt is not None
        token = await self._feed.follow(self._tokens.revoke(token_id, call.attempt))
        return MessageBody(f"Token {token.name} ({token.id}) is revoked")

    @endpoint(
        "POST",
        "/api/v1/tokens/<token_id>/rotate",
        Permission.ADMIN,
        "Give a token another secret.",
        body=Rotation,
        optional_body=True,
        scope=Scope.TOKEN,
        docs=Docs({200: NewTokenBody}, (NotFound,), example={"overlap": 3600}, tag=ACCESS),
    )
    async def rotate_token(self, call: Call, token_id: str) -> Answer:
        """Replace the secret. A token may rotate itself; the old secret stays valid for C{overlap} seconds."""
        assert call.attempt is not None
        secret, written = self._tokens.rotate(token_id, call.body.overlap, call.attempt)
        return _with_secret(await self._feed.follow(written), secret, 200)


def token_item(token: Token) -> TokenItem:
    """Return a token as the API shows it."""
    return {
        "id": token.id,
        "name": token.name,
        "subject": token.subject,
        "grants": _items(describe_grants(decode_grants(token.grants))),
        "created_at": rfc3339(token.created_at),
        "created_by": token.created_by,
        "expires_at": rfc3339(token.expires_at),
        "revoked_at": rfc3339(token.revoked_at),
        "last_used_at": rfc3339(token.last_used_at),
        "last_used_from": token.last_used_from,
    }


def _items(grants: list[JsonObject]) -> list[GrantItem]:
    return [{"role": each["role"], "namespaces": each["namespaces"]} for each in grants]


def _with_secret(token: Token, secret: str, status: int) -> Answer:
    body: NewTokenBody = {**token_item(token), "token": secret}
    return Answer(strict_json.encode(body), status, {"Cache-Control": "no-store"})
