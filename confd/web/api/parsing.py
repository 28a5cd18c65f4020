"""What a request carries, read strictly: its headers, its query, its body."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from confd.codec import strict_json
from confd.errors import Malformed
from confd.model import Document

#: Parameters that a query may have.
_MAX_PARAMETERS = 32


def read_header(request: Any, name: str) -> str | None:
    """
    One header's value as text, or C{None}.

    @raise Malformed: if it is sent twice, or is no text.
    """
    values = request.requestHeaders.getRawHeaders(name.encode("ascii")) or ()
    if len(values) > 1:
        raise Malformed("repeated_header", f"The header {name} is sent more than once.")
    try:
        return values[0].decode("utf-8") if values else None
    except UnicodeDecodeError:
        raise Malformed("bad_header", f"The header {name} is not UTF-8 text.") from None


def read_object(raw: bytes) -> tuple[dict[str, Any], None]:
    """
    A body that is one JSON object.

    @raise Malformed: if it is anything else.
    """
    value = strict_json.decode(raw)
    if not isinstance(value, dict):
        raise Malformed("not_an_object", "The body must be a JSON object.")
    return value, None


def read_document(raw: bytes) -> tuple[dict[str, Any], Document]:
    """As L{read_object}, with the document that it is."""
    value, _ = read_object(raw)
    return value, strict_json.document(value)


def read_query(uri: bytes, kind: type[msgspec.Struct]) -> Any:
    """
    The query as an instance of C{kind}.

    @raise Malformed: naming the parameter that does not fit.
    """
    _, _, text = uri.partition(b"?")
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise Malformed("bad_query", "The query is not name=value pairs in percent-encoded UTF-8.") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Malformed("bad_query", "The query names a parameter twice.")
    query = convert(values, kind, strict=False)
    if not values:
        return query
    fields = {each.encode_name: each.name for each in msgspec.structs.fields(kind)}
    for name, given in values.items():
        # msgspec takes "1e2" for 100 and "null" for nothing; somebody who wrote that meant something else.
        if str(getattr(query, fields.get(name, name), given)).lower() != given.lower():
            said = f"{given[:40]!r} is not written as a plain value"
            raise Malformed("bad_field", f"{name}: {said}.", [{"pointer": f"/{name}", "message": said}])
    return query


def convert(value: Any, kind: Any, strict: bool) -> Any:
    """
    Make C{value} an instance of C{kind}.

    @raise Malformed: naming the field that does not fit.
    """
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at `$")
        pointer = where.rstrip("`").replace(".", "/").replace("[", "/").replace("]", "")
        name = pointer.lstrip("/") or "the request"
        raise Malformed("bad_field", f"{name}: {said}.", [{"pointer": pointer, "message": said}]) from None


def peek(uri: bytes, name: str, default: str) -> str:
    """A parameter of a query that nobody has checked, for the record only; empty where the query cannot be read."""
    try:
        pairs = parse_qsl(uri.partition(b"?")[2].decode("ascii", "replace"), max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        return ""
    return dict(pairs).get(name, default)
