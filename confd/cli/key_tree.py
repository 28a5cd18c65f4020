"""Documents from flat keys and values, as dumps of other programs have them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from confd.cli.errors import CommandError, Exit
from confd.codec import strict_json
from confd.codec.strict_json import JsonObject, JsonValue
from confd.codec.text import printable
from confd.errors import ConfdError
from confd.model import valid_namespace

#: Problems that one error lists.
_MAX_LISTED = 20


def nested(pairs: Iterable[tuple[str, str]], separator: str, name: str) -> JsonObject:
    """
    Return the document in which the parts of each key are nested objects. Empty parts do not count.

    @param separator: of the parts of a key.
    @param name: name of the dump in errors.
    @raise CommandError: a key is a value and a folder, or two keys are the same; the details list all of them.
    """
    document: JsonObject = {}
    problems = []
    for key, text in sorted(pairs):
        *parents, last = [part for part in key.split(separator) if part] or [""]
        place: JsonValue = document
        for number, part in enumerate(parents, 1):
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                problems.append(f"{separator.join(parents[:number])} is a value and also has keys below it.")
                break
        else:
            if last in place and isinstance(place[last], dict):
                problems.append(f"{separator.join([*parents, last])} is a value and also has keys below it.")
            elif last in place:
                problems.append(f"{key} is there twice.")
            else:
                place[last] = text
    _refuse(name, [printable(each) for each in dict.fromkeys(problems)])
    return document


def flat(pairs: Iterable[tuple[str, str]], name: str) -> JsonObject:
    """
    Return the document with one member for each key.

    @raise CommandError: two keys are the same.
    """
    document: JsonObject = {}
    twice = []
    for key, text in pairs:
        if key in document:
            twice.append(f"{key} is there twice.")
        document[key] = text
    _refuse(name, [printable(each) for each in dict.fromkeys(twice)])
    return document


def inferred(value: JsonValue) -> tuple[JsonValue, int]:
    """Return a value whose texts became the JSON numbers, booleans, objects and arrays in them, and how many did."""
    if isinstance(value, dict):
        count, found = 0, {}
        for key, each in value.items():
            found[key], more = inferred(each)
            count += more
        return found, count
    if not isinstance(value, str):
        return value, 0
    try:
        read = strict_json.decode(value.encode())
    except (ConfdError, UnicodeEncodeError):
        return value, 0
    return (value, 0) if read is None or isinstance(read, str) else (read, 1)


def namespace_named(text: str, name: str) -> str:
    """
    Return the namespace for a name of another program: capital letters become small, and other characters dashes.

    @param name: name of the dump in errors.
    @raise CommandError: the result is not a name of a namespace.
    """
    namespace = re.sub("[^a-z0-9-]", "-", text.lower())
    if not valid_namespace(namespace):
        raise CommandError(
            Exit.INVALID, f"{name}: {printable(text, 80)!r} cannot name a namespace, which has 1 to 63 characters."
        )
    return namespace


def _refuse(name: str, problems: list[str]) -> None:
    if problems:
        more = len(problems) - _MAX_LISTED
        details = problems[:_MAX_LISTED] + ([f"And {more} more."] if more > 0 else [])
        raise CommandError(Exit.INVALID, f"{name}: these keys cannot be in one document.", details)
