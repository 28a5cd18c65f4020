"""Grants as people and the store write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from confd.access.patterns import reaches
from confd.codec.strict_json import JsonObject
from confd.errors import Unprocessable
from confd.web.auth.principals import EVERYWHERE, Grant, Principal, Role, permissions_of

#: Grants of a token, and patterns of a grant.
MAX_GRANTS, MAX_PATTERNS = 16, 64

#: A name of a namespace, or the beginning of one and a star.
_PATTERN = re.compile(r"(?:[a-z0-9][a-z0-9-]{0,62}\*?|\*)")


def parse_grants(items: Sequence[tuple[str, Sequence[str]]]) -> tuple[Grant, ...]:
    """
    Return grants.

    @param items: a role and patterns for each grant.
    @raise Unprocessable: C{bad_grant}.
    """
    if not 1 <= len(items) <= MAX_GRANTS:
        raise _bad("", f"A token has 1 to {MAX_GRANTS} grants.")
    return tuple(_grant(f"/grants/{number}", *each) for number, each in enumerate(items))


def _grant(pointer: str, role: str, patterns: Sequence[str]) -> Grant:
    names = [each.value for each in Role]
    if role not in names:
        raise _bad(f"{pointer}/role", f"The role {role[:32]!r} does not exist; the roles are {', '.join(names)}.")
    check_patterns(f"{pointer}/namespaces", patterns, "bad_grant")
    if Role(role) is Role.ADMIN and tuple(patterns) != (EVERYWHERE,):
        raise _bad(f"{pointer}/namespaces", 'The role admin takes the namespaces ["*"] and no others.')
    return Grant(Role(role), tuple(dict.fromkeys(patterns)))


def check_patterns(pointer: str, patterns: Sequence[str], code: str) -> None:
    """
    Check patterns of namespaces.

    @param pointer: to the patterns in the request.
    @param code: of the error.
    @raise Unprocessable: a pattern is malformed, or their number is out of range.
    """
    if not 1 <= len(patterns) <= MAX_PATTERNS:
        raise _bad(pointer, f"Give 1 to {MAX_PATTERNS} patterns of namespaces.", code)
    for each in patterns:
        if _PATTERN.fullmatch(each) is None:
            raise _bad(
                pointer,
                f"{each[:64]!r} is no pattern; give the name of a namespace, or a prefix that ends with one *.",
                code,
            )


def _bad(pointer: str, sentence: str, code: str = "bad_grant") -> Unprocessable:
    return Unprocessable(code, sentence, [{"pointer": pointer or "/grants", "message": sentence}])


def describe_grants(grants: Sequence[Grant]) -> list[JsonObject]:
    """Return grants as the API shows them."""
    return [{"role": each.role.value, "namespaces": list(each.namespaces)} for each in grants]


def encode_grants(grants: Sequence[Grant]) -> str:
    """Return grants as the store keeps them."""
    return msgspec.json.encode(describe_grants(grants)).decode()


def decode_grants(text: str) -> tuple[Grant, ...]:
    """Return grants that the store kept."""
    return tuple(Grant(Role(each["role"]), tuple(each["namespaces"])) for each in msgspec.json.decode(text))


def effective_permissions(principal: Principal) -> Mapping[str, list[str]]:
    """Return the permissions of a caller for each pattern of the grants: the union over all grants that reach it."""
    patterns = dict.fromkeys(each for grant in principal.grants for each in grant.namespaces)
    return {
        pattern: sorted(
            permission.value
            for permission in frozenset().union(
                *(
                    permissions_of(grant.role)
                    for grant in principal.grants
                    if any(reaches(each, pattern) for each in grant.namespaces)
                )
            )
        )
        for pattern in patterns
    }
