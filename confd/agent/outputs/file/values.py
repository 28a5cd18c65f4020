"""JSON values on their way into a format: pointers, and the errors of what a format cannot express."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

#: A JSON value.
Value = object

#: Half of a character of UTF-16, which UTF-8 cannot express.
SURROGATE: Final = re.compile("[\ud800-\udfff]")


class RenderError(ValueError):
    """A configuration that cannot be rendered; the message follows C{cannot be rendered: }."""


class FormatError(RenderError):
    """
    A value that a format cannot express.

    @ivar pointer: the JSON pointer of the part at fault.
    """

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"the value at {pointer!r} {reason}" if pointer else f"the document {reason}")
        self.pointer = pointer


def as_object(value: Value, pointer: str) -> Mapping[str, Value]:
    """
    Return a value that is an object.

    @raise FormatError: if it is another kind of value.
    """
    if not isinstance(value, Mapping):
        raise FormatError(pointer, "is not an object")
    return value
