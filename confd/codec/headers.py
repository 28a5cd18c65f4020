"""Encode and decode headers and times that cross the network."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import overload

from confd.model import Tag, parse_tag

#: A bare version number, which agents with a document of the Go system send.
_BARE = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


# -- times --


@overload
def rfc3339(moment: datetime) -> str: ...


@overload
def rfc3339(moment: None) -> None: ...


def rfc3339(moment: datetime | None) -> str | None:
    """Write a time as RFC 3339 in UTC with milliseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """
    Read an RFC 3339 time.

    @raise ValueError: if the text is not a time with a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is UTC:
        # As in all that confd writes: the times of a large fleet are read at a start.
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is before the year 1 or after 9999") from None


# -- headers --


def etag(tag: Tag) -> str:
    """Write the strong entity tag of a configuration (RFC 9110 section 8.8.3)."""
    return f'"{tag}"'


#: The preference of a client that wants to know what is current after its request (RFC 7240 section 4.2).
RETURN_REPRESENTATION = "return=representation"


def prefers_representation(values: Iterable[bytes]) -> bool:
    """Return whether the values of C{Prefer} ask for the representation."""
    preferences = (each.partition(b";")[0] for value in values for each in value.split(b","))
    return any(each.strip().lower() == RETURN_REPRESENTATION.encode() for each in preferences)


#: A tag of confd with the suffix of a compressing proxy, such as C{-gzip} or C{;br}.
_SUFFIXED = re.compile(r"([0-9A-Za-z]++(?:\.[0-9]++\.[0-9]++)?)(?:\.|[^0-9A-Za-z.]++)[A-Za-z].*", re.DOTALL)


def entity_tags(header: str) -> frozenset[str]:
    """
    Return the opaque tags of an C{If-Match} or C{If-None-Match} header, also weak tags and tags without quotes.

    Go agents send tags without quotes. A compressing proxy appends a suffix to a tag; the result has the tag with and
    without its suffix.

    @return: contains C{"*"} for the wildcard. Unreadable parts become tags that match nothing.
    """
    pieces = header.split('"')
    # Every second piece is inside quotes, except the last piece, which no quote closes.
    inside = frozenset(pieces[1 : len(pieces) - 1 : 2])
    outside = frozenset(word.strip() for piece in pieces[::2] for word in piece.split(","))
    found = (inside - {"*"}) | (outside - {""})
    return found | {match[1] for each in found if (match := _SUFFIXED.fullmatch(each))}


def not_modified(header: str, tag: Tag) -> bool:
    """Return whether an C{If-None-Match} header contains C{tag}, or its bare version number."""
    return not entity_tags(header).isdisjoint({"*", str(tag), str(tag.version)})


def names_newer(header: str, tag: Tag) -> bool:
    """Return whether a header contains a tag of the same cluster that is newer than C{tag}."""
    for text in entity_tags(header):
        named = parse_tag(text)
        if named is None:
            continue
        if named.cluster == tag.cluster and (named.epoch, named.version) > (tag.epoch, tag.version):
            return True
    return False


def names_version(header: str) -> bool:
    """Return whether a header contains a bare version number, which agents with a document of the Go system send."""
    return any(map(_BARE.fullmatch, entity_tags(header)))


def basic_authorization(username: str, password: str) -> bytes:
    """Return the value of an C{Authorization} header (RFC 7617)."""
    return b"Basic " + base64.b64encode(f"{username}:{password}".encode())


def parse_basic_authorization(header: bytes) -> tuple[bytes, bytes] | None:
    """Return user name and password of an C{Authorization} header; C{None} if it is not Basic (RFC 7617)."""
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        username, colon, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return (username, password) if colon else None
