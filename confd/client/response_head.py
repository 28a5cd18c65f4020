"""The head of an HTTP/1.1 response: what a client needs of it, read in one pass (RFC 9112)."""

from __future__ import annotations

import re

from attrs import frozen

#: Bytes of the status line and the headers of a response, including interim responses (1xx).
MAX_HEAD_BYTES = 32768

#: The end of a head. RFC 9112 section 2.2 lets a recipient take a line feed alone for the end of a line.
END_OF_HEAD = re.compile(rb"\n\r?\n")

_HEAD = re.compile(
    rb"HTTP/1\.(?P<minor>[0-9]) (?P<status>[1-5][0-9]{2})(?: [^\r\n]*)?\r?\n"
    rb"(?P<fields>(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r?\n)*)\r?\n"
)
_FIELD = re.compile(
    rb"^(Content-Type|Content-Encoding|Content-Language|Last-Modified|Content-Length|Transfer-Encoding|Connection"
    rb"|Location):[ \t]*(.*?)[ \t]*\r?$",
    re.IGNORECASE | re.MULTILINE,
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_WITHOUT_BODY = (204, 304)


class BadResponse(ValueError):
    """The bytes of a server are not an HTTP/1.1 response."""


@frozen
class ResponseHead:
    """
    The head of a response.

    @ivar fields: values of the headers that decide something or are passed on, by name in lower case; the values of a
        header that is repeated are joined.
    @ivar length: bytes of the body; C{None} if the head does not say.
    @ivar chunked: whether the body is in chunks.
    @ivar persistent: whether the connection can carry another request.
    """

    status: int
    fields: dict[bytes, bytes]
    length: int | None
    chunked: bool
    persistent: bool

    @property
    def bodyless(self) -> bool:
        """Whether no body follows, whatever the headers say."""
        return self.status in _WITHOUT_BODY


def parse_head(raw: bytes) -> ResponseHead:
    """
    Read the head of a response, with the empty line at its end.

    @raise BadResponse: if it is not a head, or does not say clearly where the body ends.
    """
    found = _HEAD.fullmatch(raw)
    if found is None:
        raise BadResponse("not the head of a response")
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(found["fields"]):
        lower = name.lower()
        fields[lower] = fields[lower] + b", " + value if lower in fields else value
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if coding is not None and coding.lower() != b"chunked":
        raise BadResponse("an unknown Transfer-Encoding")
    if length is not None and not _LENGTH.fullmatch(length):
        raise BadResponse("an invalid Content-Length")
    status, options = int(found["status"]), fields.get(b"connection", b"").lower().split(b",")
    delimited = status in _WITHOUT_BODY or (length is None) is not (coding is None)
    persistent = delimited and found["minor"] != b"0" and b"close" not in map(bytes.strip, options)
    return ResponseHead(
        status,
        fields,
        None if length is None or coding is not None else int(length),
        coding is not None,
        persistent,
    )
