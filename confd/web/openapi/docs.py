"""What the API document tells of an endpoint besides what the edge has to know of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from attrs import field, frozen

from confd import model
from confd.errors import ConfdError

#: A time in an answer (RFC 3339).
Moment = Annotated[str, msgspec.Meta(examples=["2026-11-24T12:00:00.000Z"], extra_json_schema={"format": "date-time"})]

#: A document in an answer, spliced in as it is.
Spliced = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]


def written_as(pattern: re.Pattern[str]) -> msgspec.Meta:
    """For an annotation: how a text is written, where the handler says in better words what is wrong with another."""
    return msgspec.Meta(extra_json_schema={"pattern": f"^{pattern.pattern}$"})


@frozen
class HeaderDocs:
    """
    A header of a request or an answer.

    @ivar pattern: what its value looks like, as an ECMA-262 regular expression.
    """

    name: str
    description: str
    pattern: str = ""


AGENT_ID = HeaderDocs("X-Agent-ID", "The agent that asks, by the id that it was given; it counts as heard of.")
CONFIG_CHECKSUM = HeaderDocs(
    "X-Config-Checksum",
    "The checksum of the document in force: after a restore two may have been given the same tag.",
    "^sha256:[0-9a-f]{64}$",
)
CONFIG_VERSION = HeaderDocs("X-Config-Version", "The tag of the configuration in the body.", f"^{model.TAG.pattern}$")
ETAG = HeaderDocs("ETag", "Names what the answer holds, or what is in force.", '^".*"$')
IDEMPOTENCY_KEY = HeaderDocs(
    "Idempotency-Key", "A retry with the same key changes nothing and gets the first answer.", "^[!-~]{1,255}$"
)
IF_MATCH = HeaderDocs("If-Match", "The ETag that must be in force still; else 412.")
IF_NONE_MATCH = HeaderDocs("If-None-Match", "The ETag of what the caller has; 304 while it is still the same.")
LAST_EVENT_ID = HeaderDocs("Last-Event-ID", "The id of the last event that the caller has.")
LINK = HeaderDocs(
    "Link", 'The next page, relative to this one, with rel="next" (RFC 8288); there is none on the last one.'
)


#: Where somebody else decides which status it is.
ANY_STATUS = "default"


@frozen
class Docs:
    """
    What a caller can count on.

    @ivar answers: what the answer with a status, or with L{ANY_STATUS}, holds: a type that msgspec knows or several of
        them, a media type where it is no JSON, or C{None} where there is no body. Without this it is 200 and what the
        handler is annotated to return.
    @ivar errors: what the handler may raise, besides what follows from the rest of the declaration.
    @ivar takes: headers of the request that it understands.
    @ivar gives: headers of the answer.
    @ivar example: a body that it takes.
    @ivar tag: the chapter that it is in.
    """

    answers: Mapping[int | str, Any] = field(factory=dict)
    errors: Sequence[type[ConfdError]] = ()
    takes: Sequence[HeaderDocs] = ()
    gives: Sequence[HeaderDocs] = ()
    example: Mapping[str, Any] | None = None
    tag: str = "other"


class MessageBody(msgspec.Struct):
    """That something was done, in words."""

    message: str
