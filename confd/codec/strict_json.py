"""
Strict JSON, and the canonical form that checksums are made of.

What Python's parser lets through, and what would mean different things to different readers, is refused here: duplicate
keys, NaN, 1e999, lone surrogates, deep nesting (RFC 8259 section 4 and 9, RFC 7493).
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from typing import Any

import msgspec
import rfc8785

from confd.errors import Malformed, Unprocessable
from confd.model import Document

#: How deep arrays and objects may be nested: in a document, and in a message that carries one.
MAX_DEPTH = 16
ENVELOPE_DEPTH = MAX_DEPTH + 1

#: Integers beyond this cannot be put in canonical form (RFC 8785 section 3.2.2.3).
MAX_INTEGER = 2**53 - 1

#: Digits of the longest integer worth reading; longer ones take quadratic time to convert.
_MAX_DIGITS = 400

#: Every escape of a string; the group is one that no UTF-8 reader can be handed: half of a surrogate pair, or NUL.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u0000|u[dD][89a-fA-F]..)|.)",
)


def decode(raw: bytes, depth: int = MAX_DEPTH) -> Any:
    """
    Read strict JSON.

    @param raw: the text, at most as long as the caller's limit.
    @param depth: how deep it may be nested.
    @return: the value.
    @raise Malformed: with a fixed sentence and code for each way of being wrong.
    """
    # RFC 8259 section 8.1 forbids a byte order mark.
    if raw.startswith(codecs.BOM_UTF8):
        raise Malformed("not_json", "The JSON text begins with a byte order mark (BOM); save it as UTF-8 without one.")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Malformed("not_utf8", "The JSON text begins with the byte order mark of UTF-16; save it as UTF-8.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not_utf8", "The JSON text is not valid UTF-8.") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Malformed(
            "not_json", f"The body is not JSON: the mistake is in line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise _too_deep() from None
    if any(_ESCAPE.findall(text)):
        raise Malformed("bad_character", "The JSON text holds a lone surrogate or a NUL character.")
    if _deeper_than(depth, value):
        raise _too_deep()
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Malformed("duplicate_key", "The JSON text names a key twice in one object; keep one of them.")
    return value


def _constant(name: str) -> Any:
    raise Malformed("not_finite", "NaN and Infinity are not JSON; use a number, a string or null.")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Malformed("not_finite", "The JSON text holds a number too large to represent.")
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise Malformed("not_finite", "The JSON text holds a number too large to represent.")
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_integer)


def _too_deep() -> Malformed:
    return Malformed("too_deep", f"The JSON text is nested deeper than {MAX_DEPTH} levels.")


def _deeper_than(depth: int, value: Any) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = [each for each in level if isinstance(each, (dict, list))]
        if not level:
            return False
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return True


def encode(value: object) -> bytes:
    """Compact UTF-8 JSON; L{msgspec.Raw} is spliced in as it is."""
    return msgspec.json.encode(value)


def canonical(value: object) -> bytes:
    """
    The canonical form of a value (RFC 8785): what is hashed and signed.

    @raise Unprocessable: if it holds an integer that has no canonical form.
    """
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError:
        raise Unprocessable(
            "integer_out_of_range", f"An integer beyond {MAX_INTEGER} loses digits in most readers; make it a string."
        ) from None


def checksum(value: object) -> str:
    """
    C{sha256:<hex>} of the canonical form of C{value}.

    @raise Unprocessable: see L{canonical}.
    """
    return f"sha256:{hashlib.sha256(canonical(value)).hexdigest()}"


def document(value: object) -> Document:
    """
    Make a document of a value that L{decode} returned.

    @raise Unprocessable: see L{checksum}.
    """
    return Document(encode(value), checksum(value))
