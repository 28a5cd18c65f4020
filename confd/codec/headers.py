"""
Headers and times that cross the network, to values and back.

Readers are liberal where the Go system leaves fields out, and strict in what they believe: a body that does not fit
raises L{Malformed}, never anything else.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import overload

from confd.model import (
    Tag,
)

#: A version number as agents name it that hold a document of the Go system.
_BARE = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


# -- times --


@overload
def rfc3339(moment: datetime) -> str: ...


@overload
def rfc3339(moment: None) -> None: ...


def rfc3339(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with milliseconds; a time that never was is C{None}."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """
    Read what L{rfc3339} wrote, or what another system did.

    @raise ValueError: if it is not a time with a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is before the year 1 or after 9999") from None


# -- headers --


def etag(tag: Tag) -> str:
    """The strong entity tag of a configuration (RFC 9110 section 8.8.3)."""
    return f'"{tag}"'


#: A tag of ours with what a proxy that encodes answers puts behind it, such as C{-gzip} or C{;br}.
_SUFFIXED = re.compile(r"([0-9A-Za-z]++(?:\.[0-9]++\.[0-9]++)?)(?:\.|[^0-9A-Za-z.]++)[A-Za-z].*", re.DOTALL)


def entity_tags(header: str) -> frozenset[str]:
    """
    The opaque tags of an C{If-Match} or C{If-None-Match} header: also weak ones, and bare ones as the Go agents send.

    A proxy that encodes answers appends the coding to their tags: a tag with such a suffix is there without it, too.

    @return: with C{"*"} for the wildcard; what cannot be read is in no form that matches anything.
    """
    pieces = header.split('"')
    # Inside is every second piece, but for the last one: no quote closes it.
    inside = frozenset(pieces[1 : len(pieces) - 1 : 2])
    outside = frozenset(word.strip() for piece in pieces[::2] for word in piece.split(","))
    found = (inside - {"*"}) | (outside - {""})
    return found | {match[1] for each in found if (match := _SUFFIXED.fullmatch(each))}


def not_modified(header: str, tag: Tag) -> bool:
    """Whether a caller with this C{If-None-Match} has C{tag} already; a bare version number counts."""
    return not entity_tags(header).isdisjoint({"*", str(tag), str(tag.version)})


def names_version(header: str) -> bool:
    """Return whether a header holds a bare version number, as agents send that hold a document of the Go system."""
    return any(map(_BARE.fullmatch, entity_tags(header)))


def basic_authorization(username: str, password: str) -> bytes:
    """The value of an C{Authorization} header (RFC 7617)."""
    return b"Basic " + base64.b64encode(f"{username}:{password}".encode())


def parse_basic_authorization(header: bytes) -> tuple[bytes, bytes] | None:
    """User name and password of an C{Authorization} header, C{None} where it is not Basic (RFC 7617)."""
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        username, colon, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return (username, password) if colon else None
