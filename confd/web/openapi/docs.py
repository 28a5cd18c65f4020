"""What the API document says of an endpoint in addition to its declaration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from attrs import field, frozen

from confd import model
from confd.errors import ConfdError

#: A time in a response (RFC 3339).
Moment = Annotated[str, msgspec.Meta(examples=["2026-11-24T12:00:00.000Z"], extra_json_schema={"format": "date-time"})]

#: A document in a response, spliced in without decoding it.
Spliced = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]


def written_as(pattern: re.Pattern[str]) -> msgspec.Meta:
    """Return an annotation that puts a pattern into the API document; the handler checks it, with better errors."""
    return msgspec.Meta(extra_json_schema={"pattern": f"^{pattern.pattern}$"})


@frozen
class HeaderDocs:
    """
    A header of a request or a response.

    @ivar pattern: of its value, as an ECMA-262 regular expression.
    """

    name: str
    description: str
    pattern: str = ""


AGENT_ID = HeaderDocs("X-Agent-ID", "The id of the agent that sends the request; the request counts as a sign of life.")
CONFIG_CHECKSUM = HeaderDocs(
    "X-Config-Checksum",
    "The checksum of the current document. After a restore, two documents may have had the same tag.",
    "^sha256:[0-9a-f]{64}$",
)
CONFIG_KEYS = HeaderDocs(
    "X-Config-Keys",
    "The ids of the valid signing keys, newest first. A client with other keys asks again without If-None-Match.",
    "^[0-9a-f]{16}(,[0-9a-f]{16})*$",
)
CONFIG_VERSION = HeaderDocs("X-Config-Version", "The tag of the configuration in the body.", f"^{model.TAG.pattern}$")
ETAG = HeaderDocs("ETag", "The tag of the content of the response, or of the current version.", '^".*"$')
IDEMPOTENCY_KEY = HeaderDocs(
    "Idempotency-Key",
    "A retry with the same key changes nothing and gets the first response.",
    "^[!-~]{1,255}$",
)
IF_MATCH = HeaderDocs("If-Match", "The ETag that must still be current; otherwise 412.")
IF_NONE_MATCH = HeaderDocs("If-None-Match", "The ETag of the copy that the client has; 304 while it is current.")
LAST_EVENT_ID = HeaderDocs("Last-Event-ID", "The id of the last event that the client received.")
LINK = HeaderDocs("Link", 'The next page, relative to this one, with rel="next" (RFC 8288); absent on the last page.')

PREFER = HeaderDocs("Prefer", "With return=representation, the response holds the then current document (RFC 7240).")
PREFERENCE_APPLIED = HeaderDocs("Preference-Applied", "The preference that the response follows.")


#: The status of a response that another server decides.
ANY_STATUS = "default"


@frozen
class Docs:
    """
    What callers of an endpoint can rely on.

    @ivar answers: the content of responses, by status or L{ANY_STATUS}: a type that msgspec knows, a tuple of such
        types, a media type other than JSON, or C{None} for no body. If empty, the return annotation of the handler
        describes the response with status 200.
    @ivar errors: the errors that the handler may raise, but for errors that follow from the declaration.
    @ivar takes: headers of the request that have a meaning.
    @ivar gives: headers of the response.
    @ivar example: of a body.
    @ivar tag: the chapter of the API document.
    """

    answers: Mapping[int | str, object] = field(factory=dict)
    errors: Sequence[type[ConfdError]] = ()
    takes: Sequence[HeaderDocs] = ()
    gives: Sequence[HeaderDocs] = ()
    example: Mapping[str, object] | None = None
    tag: str = "other"


class MessageBody(msgspec.Struct):
    """A sentence that confirms a change."""

    message: str
