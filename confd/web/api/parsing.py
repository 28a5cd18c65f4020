"""Strict parsing of the headers, the query and the body of a request."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from confd.codec import strict_json
from confd.codec.text import fault_of
from confd.errors import Malformed
from confd.model import Document
from confd.web.server.request import BoundedRequest

T = TypeVar("T")
Q = TypeVar("Q", bound=msgspec.Struct)

#: Parameters of a query.
MAX_PARAMETERS = 32


def read_header(request: BoundedRequest, name: str) -> str | None:
    """
    Return the value of a header as text, or C{None}.

    @raise Malformed: the header is repeated or not UTF-8.
    """
    values = request.requestHeaders.getRawHeaders(name.encode("ascii")) or ()
    if len(values) > 1:
        raise Malformed("repeated_header", f"The header {name} is sent more than once.")
    try:
        return values[0].decode("utf-8") if values else None
    except UnicodeDecodeError:
        raise Malformed("bad_header", f"The header {name} is not UTF-8 text.") from None


def read_object(raw: bytes) -> dict[str, object]:
    """
    Decode a body that is one JSON object.

    @raise Malformed: the body is anything else.
    """
    value = strict_json.decode(raw)
    if not isinstance(value, dict):
        raise Malformed("not_an_object", "The body must be a JSON object.")
    return value


def read_document(raw: bytes) -> tuple[dict[str, object], Document]:
    """Decode a body as L{read_object} does, and return it with the document that it is."""
    value = read_object(raw)
    return value, strict_json.document(value)


def read_query(uri: bytes, kind: type[Q]) -> Q:
    """
    Parse the query of a URI as an instance of C{kind}.

    @raise Malformed: the message names the parameter that does not fit.
    """
    _, _, text = uri.partition(b"?")
    if not text:
        try:
            # All fields have their defaults.
            return kind()
        except TypeError:
            return convert({}, kind, strict=False)
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise Malformed("bad_query", "The query is not name=value pairs in percent-encoded UTF-8.") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Malformed("bad_query", "The query names a parameter twice.")
    query = convert(values, kind, strict=False)
    fields = {each.encode_name: each.name for each in msgspec.structs.fields(kind)}
    for name, given in values.items():
        # msgspec reads "1e2" as 100 and "null" as nothing; a person who writes that means something else.
        if str(getattr(query, fields.get(name, name), given)).lower() != given.lower():
            fault = f"{given[:40]!r} is not written as a plain value"
            raise Malformed("bad_field", f"{name}: {fault}.", [{"pointer": f"/{name}", "message": fault}])
    return query


def convert(value: object, kind: type[T], strict: bool) -> T:
    """
    Convert a decoded value to an instance of C{kind}.

    @param strict: whether text counts as text only; numbers in a query are text.
    @raise Malformed: the message names the field that does not fit.
    """
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        pointer, fault = fault_of(error)
        name = pointer.lstrip("/") or "the request"
        raise Malformed("bad_field", f"{name}: {fault}.", [{"pointer": pointer, "message": fault}]) from None


def peek(uri: bytes, name: str, default: str) -> str:
    """Return a parameter of an unchecked query, for the audit log only; empty if the query is invalid."""
    _, _, text = uri.partition(b"?")
    if not text:
        return default
    try:
        pairs = parse_qsl(text.decode("ascii", "replace"), max_num_fields=MAX_PARAMETERS)
    except ValueError:
        return ""
    return dict(pairs).get(name, default)
