"""Documents as they are typed: files, standard input, C{key=value}."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence
from copy import deepcopy
from typing import IO, Any

from confd.cli.errors import CommandError, Exit
from confd.codec import strict_json
from confd.codec.text import printable
from confd.errors import ConfdError

#: Bytes of the largest document that any controller can be set to take.
MAX_DOCUMENT = 4 * 1048576

_DOT = re.compile(r"(?<!\\)\.")


def sources(words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """
    What a document is made of, as it was typed: a file, if there is one, and C{key=value}.

    @raise Failure: if it is something else.
    """
    named = bool(words) and ("=" not in words[0] or words[0].startswith(("/", ".")))
    assignments = words[1:] if named else words
    if not all("=" in each for each in assignments):
        raise CommandError(Exit.USAGE, "Give one FILE, and after it KEY=VALUE as often as you like.")
    return (words[0] if named else None), assignments


def load(path: str, stdin: IO[bytes]) -> dict[str, Any]:
    """
    The document in a file, or on standard input for C{-}.

    @raise Failure: if there is none.
    """
    name = "Standard input" if path == "-" else path
    try:
        if path == "-":
            raw = stdin.read(MAX_DOCUMENT + 1)
        else:
            with open(path, "rb") as file:
                raw = file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        meant = "; to change a key, type KEY=VALUE" if isinstance(error, FileNotFoundError) else ""
        raise CommandError(Exit.USAGE, f"{name} cannot be read: {error.strerror}{meant}.") from None
    return parse(raw, name)


def parse(raw: bytes, name: str) -> dict[str, Any]:
    """
    The document that a text is.

    @param name: what to call the text.
    @raise Failure: if it is none.
    """
    if len(raw) > MAX_DOCUMENT:
        raise CommandError(Exit.INVALID, f"{name} is larger than {MAX_DOCUMENT} bytes, which no controller takes.")
    try:
        # Editors of Windows begin a file with a byte order mark.
        value = strict_json.decode(raw.removeprefix(codecs.BOM_UTF8))
    except ConfdError as error:
        raise CommandError(Exit.INVALID, f"{name}: {error.message.replace('The body is', 'this is')}") from None
    if not isinstance(value, dict):
        raise CommandError(Exit.INVALID, f"{name}: this is not a JSON object; a document is one, {{ ... }}.")
    return value


def change(document: dict[str, Any], assignments: Sequence[str], removed: Sequence[str]) -> dict[str, Any]:
    """
    A copy of a document with some of its keys set, and some taken out.

    @param assignments: C{key=value} with dots between the parts of the key; the value is JSON, or else plain text.
    @raise Failure: naming what cannot be done.
    """
    changed = deepcopy(document)
    for each in assignments:
        key, _, text = each.partition("=")
        *way, last = _parts(key)
        _put(_walk(changed, way, key, make=True), last, _value(key, text), key)
    for key in removed:
        *way, last = _parts(key)
        parent = _walk(changed, way, key)
        find(parent, last)
        del parent[_index(parent, last, key)]
    return changed


def find(document: Any, key: str) -> Any:
    """
    What is at a dotted key.

    @raise Failure: if there is nothing.
    """
    *way, last = _parts(key)
    parent = _walk(document, way, key)
    try:
        return parent[_index(parent, last, key)]
    except (LookupError, TypeError):
        raise _absent(key) from None


def _parts(key: str) -> list[str]:
    parts = [each.replace("\\.", ".") for each in _DOT.split(key)]
    if not all(parts):
        raise CommandError(
            Exit.USAGE, f"{printable(key)!r} is not a key; write parts with dots between them, such as limits.rate."
        )
    return parts


def _walk(value: Any, way: Sequence[str], key: str, make: bool = False) -> Any:
    for part in way:
        if make and isinstance(value, dict):
            value = value.setdefault(part, {})
            continue
        try:
            value = value[_index(value, part, key)]
        except (LookupError, TypeError):
            raise _absent(key) from None
    return value


def _index(parent: Any, part: str, key: str) -> Any:
    if isinstance(parent, list):
        if not part.isdecimal():
            raise CommandError(
                Exit.USAGE,
                f"{printable(key)}: {printable(part)} is not an index; arrays are numbered from 0.",
            )
        return int(part)
    if not isinstance(parent, dict):
        raise CommandError(
            Exit.USAGE, f"{printable(key)}: what {printable(part)} would be in is neither object nor array."
        )
    return part


def _put(parent: Any, part: str, value: Any, key: str) -> None:
    place = _index(parent, part, key)
    if isinstance(parent, list) and place == len(parent):
        parent.append(value)
        return
    try:
        parent[place] = value
    except IndexError:
        raise _absent(key) from None


def _value(key: str, text: str) -> Any:
    try:
        return strict_json.decode(text.encode("utf-8", "surrogateescape"))
    except ConfdError as error:
        if error.code != "not_json" or text[:1] in ("{", "[", '"'):
            said = "not JSON" if error.code == "not_json" else error.message.rstrip(".")
            raise CommandError(
                Exit.INVALID, f"{printable(key)}: the value is {said}; mind the quotes of your shell."
            ) from None
        return text


def _absent(key: str) -> CommandError:
    return CommandError(Exit.NOT_FOUND, f"The document has no {printable(key)}.")


def as_text(document: Any) -> str:
    """A document as it is edited."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
