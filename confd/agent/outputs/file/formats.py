"""
Formats of a file: the text of a JSON value in each, and what each cannot express.

A format either writes a value so that a parser of the format reads the same value back, or rejects it with the JSON
pointer (RFC 6901) of the part that the format cannot hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Final

from confd.codec.environment_file import write_env
from confd.codec.text import pointer_to
from confd.codec.toml_writer import write_toml
from confd.codec.values import CONTROL, FormatError, Value, as_object, plain_text

#: Bytes that a rendered file may have.
MAX_FILE_BYTES: Final = 16 * 1024 * 1024


def write_json(value: Value) -> str:
    """Return JSON with sorted keys, two spaces and a final newline."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=2) + "\n"


def write_raw(value: Value) -> str:
    """Return a text as it is."""
    if not isinstance(value, str):
        raise FormatError("", "is not a string, and the format raw writes strings only")
    return value


# -- properties (java.util.Properties) --


def write_properties(value: Value) -> str:
    """Return Java properties: nested keys joined with C{.}, arrays of plain values joined with C{,}."""
    lines: dict[str, str] = {}
    for key, text, pointer in _flat(as_object(value, ""), "", ""):
        if key in lines:
            raise FormatError(pointer, f"has the same joined key {key!r} as another value")
        lines[key] = f"{_properties_escape(key, ' :=#!')}={_properties_value(text)}"
    return "".join(f"{lines[key]}\n" for key in sorted(lines))


def _flat(table: Mapping[str, Value], pointer: str, prefix: str) -> Iterator[tuple[str, str, str]]:
    for key in sorted(table):
        here, name, value = pointer_to(pointer, key), f"{prefix}{key}", table[key]
        if isinstance(value, Mapping):
            yield from _flat(value, here, f"{name}.")
        elif isinstance(value, list):
            yield name, ",".join(_list_element(each, f"{here}/{number}") for number, each in enumerate(value)), here
        else:
            yield name, plain_text(value, here), here


def _list_element(value: Value, pointer: str) -> str:
    text = plain_text(value, pointer)
    if "," in text:
        raise FormatError(pointer, "contains a comma, and properties join the elements of an array with commas")
    return text


def _properties_escape(text: str, special: str) -> str:
    escapes = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
    return "".join(
        escapes.get(each) or (f"\\{each}" if each in special else each if " " <= each <= "~" else _utf16_escapes(each))
        for each in text
    )


def _utf16_escapes(character: str) -> str:
    raw = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[at : at + 2].hex()}" for at in range(0, len(raw), 2))


def _properties_value(text: str) -> str:
    escaped = _properties_escape(text, "")
    return f"\\{escaped}" if escaped.startswith(" ") else escaped


# -- INI (Python's configparser, and the many like it) --


def write_ini(value: Value) -> str:
    """Return INI: top-level objects are sections, other top-level values come first; a deeper object is rejected."""
    table = as_object(value, "")
    lines = [
        _ini_line(key, table[key], pointer_to("", key)) for key in sorted(table) if not isinstance(table[key], Mapping)
    ]
    for key in sorted(table):
        section, here = table[key], pointer_to("", key)
        if isinstance(section, Mapping):
            _ini_check(key, here, "[]")
            lines += ["", f"[{key}]"] if lines else [f"[{key}]"]
            lines += [_ini_line(each, section[each], pointer_to(here, each)) for each in sorted(section)]
    return "".join(f"{line}\n" for line in lines)


def _ini_line(key: str, value: Value, pointer: str) -> str:
    _ini_check(key, pointer, "=:[]#;")
    text = plain_text(value, pointer)
    if CONTROL.search(text):
        raise FormatError(pointer, "holds a line break or control character, which INI cannot express")
    if text != text.strip() or text[:1] in ("#", ";") or " ;" in text or " #" in text:
        raise FormatError(pointer, "begins or ends with a blank, or holds a comment sign, which INI cannot express")
    return f"{key} = {text}" if text else f"{key} ="


def _ini_check(key: str, pointer: str, special: str) -> None:
    if not key or key != key.strip() or CONTROL.search(key) or any(each in key for each in special):
        raise FormatError(pointer, "has a name that INI cannot express")


def write_yaml(value: object) -> str:
    """Return a value in YAML: see L{confd.codec.yaml_writer.write_yaml}."""
    # Most agents write no YAML, and PyYAML takes longer to load than most of their modules.
    from confd.codec.yaml_writer import write_yaml

    return write_yaml(value)


WRITERS: Final[Mapping[str, Callable[[Value], str]]] = {
    "json": write_json,
    "yaml": write_yaml,
    "toml": write_toml,
    "properties": write_properties,
    "ini": write_ini,
    "env": write_env,
    "raw": write_raw,
}

_SUFFIXES = {".yml": "yaml", ".conf": "ini", ".cfg": "ini", ".txt": "raw"}


def format_of(path: str) -> str | None:
    """Return the format that the suffix of a path names, C{None} where no suffix names one."""
    suffix = PurePath(path).suffix.lower()
    if PurePath(path).name.startswith(".env") or suffix == ".env":
        return "env"
    name = _SUFFIXES.get(suffix, suffix.removeprefix("."))
    return name if name in WRITERS else None


def write(name: str, value: Value) -> bytes:
    """
    Return the bytes of a file that holds a value in a format.

    @param name: a key of L{WRITERS}.
    @raise FormatError: if the format cannot express the value, or the file has more than L{MAX_FILE_BYTES}.
    """
    _check_finite(value, "")
    try:
        found = WRITERS[name](value).encode()
    except UnicodeEncodeError:
        raise FormatError("", "holds half a character (a lone surrogate), which no file in UTF-8 holds") from None
    if len(found) > MAX_FILE_BYTES:
        raise FormatError("", f"has more than {MAX_FILE_BYTES} bytes as {name}")
    return found


def _check_finite(value: Value, pointer: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise FormatError(pointer, "is a number too large for a double")
