"""Documents from the command line: files, standard input and C{key=value}."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise

from confd.cli.document_files import LoadedDocument, load
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session
from confd.codec import strict_json
from confd.codec.strict_json import JsonObject, JsonValue
from confd.codec.text import printable
from confd.errors import ConfdError

_MISSING = object()

#: Words of other languages for a value of JSON.
_WORDS = {"True": "true", "False": "false", "TRUE": "true", "FALSE": "false", "None": "null", "NULL": "null"}

#: What looks like a number, and is none in JSON.
_NUMBER = re.compile(r"[+-]?(?:[0-9][0-9_]*)?\.?[0-9]+|[+-]?[0-9]+\.|0[xob][0-9a-fA-F]+")

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


def read_argument(session: Session, path: str, format_: str | None = None) -> JsonObject:
    """
    Return the document in a file, or on standard input for C{-}, and print what readers may understand differently.

    @param format_: C{json}, C{yaml} or C{toml}; C{None} for the format that the suffix of the file says.
    @raise CommandError: it cannot be read, or is not a document.
    """
    found = load(path, sys.stdin.buffer, format_)
    print_warnings(session, found)
    return found.value


def print_warnings(session: Session, document: LoadedDocument) -> None:
    """Print what readers of a document may understand differently, a line each."""
    for warning in document.warnings:
        session.screen.say(printable(f"{document.name}: {warning}"))


def change(document: JsonObject, assignments: Sequence[str], removed: Sequence[str]) -> JsonObject:
    """
    Return a copy of a document with some keys set and others removed.

    @param assignments: C{key=value}, whose value is a string if it is not JSON, or C{key:=json}. Dots separate the
        parts of a key. A part 0 makes an array where the document has nothing; the next index extends an array.
    @param removed: keys.
    @raise CommandError: a key or a value is malformed, or a key does not exist.
    """
    changed = deepcopy(document)
    for each in assignments:
        key, text, only_json = _split(each)
        parts = _parts(key)
        _put(_walk_and_make(changed, parts, key), parts[-1], _value(key, text, only_json), key)
    for key in removed:
        *parents, last = _parts(key)
        find(changed, key)
        parent = _walk(changed, parents, key)
        del parent[_index(parent, last, key)]
    return changed


def changed_by_words(
    session: Session, document: JsonObject, assignments: Sequence[str], removed: Sequence[str] = ()
) -> JsonObject:
    """Return what L{change} returns, and print each value that its reader may understand differently."""
    for each in assignments:
        key, text, only_json = _split(each)
        remark = "" if only_json else _remark(text)
        if remark:
            session.screen.say(printable(f"{key}: {text} {remark}"))
    return change(document, assignments, removed)


def as_json_words(texts: Sequence[str], values: Sequence[str]) -> tuple[str, ...]:
    """
    Return assignments C{key:=json} for the options C{--string} and C{--json}.

    @param texts: C{key=text}.
    @param values: C{key=json}.
    @raise CommandError: an equals sign is missing.
    """
    for option, words in (("--string", texts), ("--json", values)):
        for each in words:
            if "=" not in each:
                raise CommandError(Exit.USAGE, f"{option} {printable(each)}: write KEY=VALUE.")
    quoted = [f"{key}:={json.dumps(text)}" for key, _, text in (each.partition("=") for each in texts)]
    return (*quoted, *(each.replace("=", ":=", 1) for each in values))


def _split(assignment: str) -> tuple[str, str, bool]:
    """Return the key and the text of an assignment, and whether the text has to be JSON."""
    key, _, text = assignment.partition("=")
    return key.removesuffix(":"), text, key.endswith(":")


def _remark(text: str) -> str:
    """Return what a reader may not expect of a value; empty if the value is plain."""
    try:
        value = strict_json.decode(text.encode("utf-8", "surrogateescape"))
    except ConfdError:
        if text in _WORDS:
            return f"is a text; JSON writes {_WORDS[text]}, and KEY:=JSON takes nothing else."
        return "is a text, not a number; KEY:=JSON takes nothing else." if _NUMBER.fullmatch(text) else ""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and json.dumps(value) != text:
        return f"is the number {json.dumps(value)}; for a text write --string KEY=TEXT or KEY:='\"TEXT\"'."
    return ""


def about_document(failure: CommandError) -> CommandError:
    """Return an error whose details name parts of the document, in place of parts of the request with the document."""
    details = [re.sub(r"^/config(?=[/:])", "", each).removeprefix(": ") for each in failure.details]
    failure.details = tuple(each for each in details if each not in failure.sentence)
    return failure


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


def _walk_and_make(value: JsonValue, parts: Sequence[str], key: str) -> JsonValue:
    """Return the object or the array that the last part of a key is in, and make what is missing on the way."""
    for part, following in pairwise(parts):
        missing = value.get(part, _MISSING) is _MISSING if isinstance(value, dict) else _is_end(value, part)
        if missing:
            if following.isdecimal() and following != "0":
                raise CommandError(
                    Exit.USAGE,
                    f"{printable(key)}: the document has no {printable(part)}; write 0 for the first item of an array,"
                    f" or KEY:=JSON for an object with the key {following}.",
                )
            _put(value, part, [] if following == "0" else {}, key)
        value = _walk(value, [part], key)
    return value


def _is_end(value: JsonValue, part: str) -> bool:
    return isinstance(value, list) and part == str(len(value))


def _walk(value: JsonValue, parents: Sequence[str], key: str) -> JsonValue:
    for part in parents:
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


def _value(key: str, text: str, only_json: bool) -> JsonValue:
    try:
        return strict_json.decode(text.encode("utf-8", "surrogateescape"))
    except ConfdError as error:
        if only_json or error.code != "not_json" or text[:1] in ("{", "[", '"'):
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
