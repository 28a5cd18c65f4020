"""Documents from the command line: files, standard input and C{key=value}."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from copy import deepcopy

from confd.cli.document_files import LoadedDocument, load
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session
from confd.codec import strict_json
from confd.codec.strict_json import JsonObject, JsonValue
from confd.codec.text import printable
from confd.errors import ConfdError

_DOT = re.compile(r"(?<!\\)\.")


def sources(words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """
    Split arguments into the name of a file, C{None} without a file, and assignments C{key=value}.

    @raise CommandError: an argument is neither.
    """
    named = bool(words) and ("=" not in words[0] or words[0].startswith(("/", ".")))
    assignments = words[1:] if named else words
    if not all("=" in each for each in assignments):
        raise CommandError(Exit.USAGE, "Name at most one FILE, and write it before all KEY=VALUE.")
    return (words[0] if named else None), assignments


def read_argument(session: Session, path: str) -> JsonObject:
    """
    Return the document in a file, or on standard input for C{-}, and print what readers may understand differently.

    @raise CommandError: it cannot be read, or is not a document.
    """
    found = load(path, sys.stdin.buffer)
    print_warnings(session, found)
    return found.value


def print_warnings(session: Session, document: LoadedDocument) -> None:
    """Print what readers of a document may understand differently, a line each."""
    for warning in document.warnings:
        session.screen.say(printable(f"{document.name}: {warning}"))


def change(document: JsonObject, assignments: Sequence[str], removed: Sequence[str]) -> JsonObject:
    """
    Return a copy of a document with some keys set and others removed.

    @param assignments: C{key=value}; dots separate the parts of a key; a value that is not JSON is a string.
    @param removed: keys.
    @raise CommandError: a key or a value is malformed, or a key does not exist.
    """
    changed = deepcopy(document)
    for each in assignments:
        key, _, text = each.partition("=")
        *parents, last = _parts(key)
        _put(_walk(changed, parents, key, make=True), last, _value(key, text), key)
    for key in removed:
        *parents, last = _parts(key)
        parent = _walk(changed, parents, key)
        find(parent, last)
        del parent[_index(parent, last, key)]
    return changed


def find(document: JsonValue, key: str) -> JsonValue:
    """
    Return the value at a dotted key.

    @raise CommandError: the document does not have the key.
    """
    *parents, last = _parts(key)
    parent = _walk(document, parents, key)
    try:
        return parent[_index(parent, last, key)]
    except (LookupError, TypeError):
        raise _absent(key) from None


def _parts(key: str) -> list[str]:
    parts = [each.replace("\\.", ".") for each in _DOT.split(key)]
    if not all(parts):
        raise CommandError(
            Exit.USAGE, f"{printable(key)!r} is not a key; separate its parts with dots, as in limits.rate."
        )
    return parts


def _walk(value: JsonValue, parents: Sequence[str], key: str, make: bool = False) -> JsonValue:
    for part in parents:
        if make and isinstance(value, dict):
            value = value.setdefault(part, {})
            continue
        try:
            value = value[_index(value, part, key)]
        except (LookupError, TypeError):
            raise _absent(key) from None
    return value


def _index(parent: JsonValue, part: str, key: str) -> JsonValue:
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


def _put(parent: JsonValue, part: str, value: JsonValue, key: str) -> None:
    place = _index(parent, part, key)
    if isinstance(parent, list) and place == len(parent):
        parent.append(value)
        return
    try:
        parent[place] = value
    except IndexError:
        raise _absent(key) from None


def _value(key: str, text: str) -> JsonValue:
    try:
        return strict_json.decode(text.encode("utf-8", "surrogateescape"))
    except ConfdError as error:
        if error.code != "not_json" or text[:1] in ("{", "[", '"'):
            said = "not JSON" if error.code == "not_json" else error.message.rstrip(".")
            raise CommandError(
                Exit.INVALID, f"{printable(key)}: the value is {said}; check the quotes of your shell."
            ) from None
        return text


def _absent(key: str) -> CommandError:
    return CommandError(Exit.NOT_FOUND, f"The document has no key {printable(key)}; confdctl get shows the document.")


def as_text(document: JsonValue) -> str:
    """Return a document as text for an editor."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
