"""
JSON values on their way out of a document: pointers (RFC 6901), and the errors of what a format cannot express.

This module uses the standard library only, because L{confd.local} imports it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

#: A JSON value.
Value = object

#: Half of a character of UTF-16, which UTF-8 cannot express.
SURROGATE: Final = re.compile("[\ud800-\udfff]")

#: Characters that most line formats cannot express.
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class RenderError(ValueError):
    """A configuration that cannot be rendered; the message follows C{cannot be rendered: }."""


class FormatError(RenderError):
    """
    A value that a format cannot express.

    @ivar pointer: the JSON pointer of the part at fault.
    @ivar reason: what the format cannot express; follows the name of the part.
    """

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"the value at {pointer!r} {reason}" if pointer else f"the document {reason}")
        self.pointer, self.reason = pointer, reason

    def below(self, pointer: str) -> FormatError:
        """Return the error for a document that has the value at a pointer."""
        return FormatError(pointer + self.pointer, self.reason)


def as_object(value: Value, pointer: str) -> Mapping[str, Value]:
    """
    Return a value that is an object.

    @raise FormatError: if it is another kind of value.
    """
    if not isinstance(value, Mapping):
        raise FormatError(pointer, "is not an object")
    return value


def resolve(document: Value, pointer: str) -> Value:
    """
    Return the part of a document that a JSON pointer names.

    @raise FormatError: if the document has no such part.
    """
    found = document
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list) and re.fullmatch(r"0|[1-9][0-9]{0,8}", key, re.ASCII) and int(key) < len(found):
            found = found[int(key)]
        else:
            raise FormatError(pointer, "does not exist in the document")
    return found


def valid_pointer(text: str) -> bool:
    """Return whether a text is a JSON pointer: empty, or tokens that each follow a slash (RFC 6901, section 3)."""
    return re.fullmatch(r"(?:/(?:[^~/]|~[01])*)*", text) is not None


def plain_text(value: Value, pointer: str) -> str:
    """
    Return the text of a value that is neither an object nor an array; C{null} is the empty text.

    @param pointer: the JSON pointer of the value, for the error.
    @raise FormatError: if it is an object or an array.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, int | float):
        return json.dumps(value)
    raise FormatError(pointer, "is an object or an array, and this format holds plain values there")
