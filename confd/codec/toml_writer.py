"""TOML 1.0.0, written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import cast

from confd.codec.text import pointer_to
from confd.codec.values import SURROGATE, FormatError, Value, as_object

_TOML_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def write_toml(value: Value) -> str:
    """Return TOML 1.0 with sorted keys; it has no null, and arrays of mixed types are rejected."""
    return "\n".join(_toml_table(as_object(value, ""), "", ())) + "\n"


def _toml_table(table: Mapping[str, Value], pointer: str, path: tuple[str, ...]) -> Iterator[str]:
    inner = []
    for key in sorted(table):
        here, value = pointer_to(pointer, key), table[key]
        if isinstance(value, Mapping) or _is_table_array(value):
            inner.append((key, here, value))
        else:
            yield f"{_toml_key(key, here)} = {_toml_value(value, here)}"
    for key, here, value in inner:
        name = ".".join(_toml_key(each, here) for each in (*path, key))
        if isinstance(value, Mapping):
            yield f"[{name}]"
            yield from _toml_table(value, here, (*path, key))
            continue
        for number, each in enumerate(cast(list[Mapping[str, Value]], value)):
            yield f"[[{name}]]"
            yield from _toml_table(each, f"{here}/{number}", (*path, key))


def _is_table_array(value: Value) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _toml_key(key: str, pointer: str) -> str:
    return key if _TOML_BARE_KEY.fullmatch(key) else _toml_string(key, pointer)


def _toml_string(text: str, pointer: str) -> str:
    if SURROGATE.search(text):
        raise FormatError(pointer, "holds half a character (a lone surrogate), which TOML cannot express")
    # The escapes of JSON are also those of TOML; TOML wants U+007F escaped, too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_value(value: Value, pointer: str) -> str:
    if value is None:
        raise FormatError(pointer, "is null, which TOML cannot express")
    if isinstance(value, str):
        return _toml_string(value, pointer)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise FormatError(pointer, "is an integer of more than 64 bits, which TOML cannot express")
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    if isinstance(value, list):
        if len({_toml_kind(each) for each in value}) > 1:
            raise FormatError(pointer, "is an array of mixed types, which TOML readers reject")
        return f"[{', '.join(_toml_value(each, f'{pointer}/{number}') for number, each in enumerate(value))}]"
    table = as_object(value, pointer)
    pairs = (
        f"{_toml_key(key, pointer_to(pointer, key))} = {_toml_value(table[key], pointer_to(pointer, key))}"
        for key in sorted(table)
    )
    return f"{{{', '.join(pairs)}}}"


def _toml_kind(value: Value) -> str:
    return "table" if isinstance(value, Mapping) else type(value).__name__
