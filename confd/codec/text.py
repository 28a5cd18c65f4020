"""Text from other programs and from people, made fit for logs, error sentences and terminals."""

from __future__ import annotations


def printable(text: object, limit: int | None = None) -> str:
    """
    Return a text on one line, with every character that a terminal does not print written as an escape.

    Control characters, line breaks and changes of writing direction could hide or forge what people read.

    @param limit: characters to read and to return at most; C{None} for all.
    """
    line = str(text)[:limit]
    if not line.isprintable():
        line = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)
    return line[:limit]


def pointer_to(pointer: str, key: object) -> str:
    """Return the JSON pointer (RFC 6901) of a member of the value at C{pointer}."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"


def fault_of(error: Exception) -> tuple[str, str]:
    """Return the JSON pointer and the text of a validation error of msgspec."""
    fault, _, where = str(error).partition(" - at `$")
    return where.rstrip("`").replace(".", "/").replace("[", "/").replace("]", ""), fault
