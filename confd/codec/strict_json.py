"""
Strict JSON, and the canonical form for checksums and signatures.

The decoder rejects texts that different parsers read differently, though Python's parser accepts most: duplicate
keys, NaN, 1e999, lone surrogates, deep nesting (RFC 8259 sections 4 and 9, RFC 7493).
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from typing import Any, NoReturn, TypeAlias

import msgspec
import rfc8785

from confd.errors import Malformed, Unprocessable
from confd.model import Document

#: Levels of arrays and objects in a document, and in a message that contains a document.
MAX_DEPTH = 16
ENVELOPE_DEPTH = MAX_DEPTH + 1

#: Largest integer with a canonical form (RFC 8785 section 3.2.2.3).
MAX_INTEGER = 2**53 - 1

#: Digits of an integer at most, as the conversion takes quadratic time.
_MAX_DIGITS = 400

#: An integer of more digits.
_LONG_INTEGER = re.compile(rb"[0-9]{%d}" % (_MAX_DIGITS + 1))

#: Every escape of a string. The group matches characters to reject: half of a surrogate pair, and NUL.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u0000|u[dD][89a-fA-F]..)|.)",
)


#: Compact JSON with sorted keys that is in canonical form already. It holds no fraction, no integer of 16 digits, no
#: null, which may stand for NaN, and no name of a member with a character beyond U+FFFF, which UTF-16 sorts otherwise.
_CANONICAL = re.compile(
    rb'(?:[^"0-9n]++|"(?:[^"\\\xf0-\xf4]++|\\.)*+"|"(?:[^"\\]++|\\.)*+"(?!:)|[0-9]{1,15}+(?![0-9.eE]))*+'
)

#: A decoded JSON value; its user knows its shape.
JsonValue: TypeAlias = Any
#: A decoded JSON object.
JsonObject: TypeAlias = dict[str, JsonValue]


def decode(raw: bytes, depth: int = MAX_DEPTH) -> JsonValue:
    """
    Decode strict JSON.

    @param raw: the text; the caller limits its length.
    @param depth: levels of nesting at most.
    @raise Malformed: with a code and a fixed sentence for each kind of mistake.
    """
    if b"\\" not in raw and raw.count(b"{") + raw.count(b"[") <= depth and _LONG_INTEGER.search(raw) is None:
        try:
            value = msgspec.json.decode(raw)
            # Without escapes, quotes only delimit strings. A key that comes twice leaves some out.
            if raw.count(b'"') == msgspec.json.encode(value).count(b'"'):
                return value
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
    return decode_with_reason(raw, depth)


def decode_with_reason(raw: bytes, depth: int = MAX_DEPTH) -> JsonValue:
    """Decode any strict JSON as L{decode} does. This decoder takes six times as long, and finds each mistake."""
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


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Malformed("duplicate_key", "The JSON text names a key twice in one object; keep one of them.")
    return value


def _constant(name: str) -> NoReturn:
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


def _deeper_than(depth: int, value: object) -> bool:
    level = [value]
    for _ in range(depth + 1):
        containers = [each for each in level if isinstance(each, (dict, list))]
        if not containers:
            return False
        level = [inner for each in containers for inner in (each.values() if isinstance(each, dict) else each)]
    return True


def encode(value: object) -> bytes:
    """Encode a value as compact UTF-8 JSON; L{msgspec.Raw} is inserted unchanged."""
    return msgspec.json.encode(value)


def canonical(value: object) -> bytes:
    """
    Encode a value in canonical form (RFC 8785), for checksums and signatures.

    @raise Unprocessable: if the value contains an integer without a canonical form.
    """
    # The library is written in Python, and takes three to eight times as long.
    encoded = msgspec.json.encode(value, order="sorted")
    if _CANONICAL.fullmatch(encoded):
        return encoded
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError:
        raise Unprocessable(
            "integer_out_of_range", f"An integer beyond {MAX_INTEGER} loses digits in most readers; make it a string."
        ) from None


def checksum(value: object) -> str:
    """
    Return C{sha256:<hex>} of the canonical form of a value.

    @raise Unprocessable: see L{canonical}.
    """
    return f"sha256:{hashlib.sha256(canonical(value)).hexdigest()}"


def document(value: object) -> Document:
    """
    Return a document with a value from L{decode}.

    @raise Unprocessable: see L{checksum}.
    """
    return Document(encode(value), checksum(value))
