"""Which documents may be published at all: a JSON Schema, 2020-12."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from functools import lru_cache, reduce

import jsonschema_rs
from attrs import define

from confd.codec import strict_json
from confd.codec.strict_json import JsonValue
from confd.codec.text import pointer_to
from confd.errors import ConfdError, StartError, Unprocessable
from confd.runtime.addresses import MAX_URL_LENGTH, fetchable
from confd.runtime.files import read_file
from confd.runtime.offload import LARGE_BYTES

#: What a document is where no C{CONFIG_SCHEMA} says otherwise.
BUILT_IN: Mapping[str, JsonValue] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["url"],
    "properties": {
        "url": {
            "type": "string",
            "description": "an http or https URL",
            "maxLength": MAX_URL_LENGTH,
            "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#\\s\\x00-\\x1f\\x7f][^\\s\\x00-\\x1f\\x7f]*$",
        }
    },
}

#: Bytes of a schema in a file at most.
_LIMIT = 16 * 1048576

#: Violations that one answer tells.
_MOST = 100


@define(eq=False)
class Schema:
    """A compiled schema."""

    _schema: Mapping[str, JsonValue]
    _validator: jsonschema_rs.Draft202012Validator

    @classmethod
    def compile(cls, schema: Mapping[str, JsonValue]) -> Schema:
        """
        Compile a schema. It can fetch nothing, and its patterns run in linear time.

        @raise ValueError: if it is not one.
        """
        return cls(
            schema,
            jsonschema_rs.Draft202012Validator(
                dict(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions()
            ),
        )

    @classmethod
    def load(cls, path: str | None) -> Schema:
        """
        Compile the schema in a file; C{None} is the built-in one.

        @raise StartError: naming C{CONFIG_SCHEMA}.
        """
        if path is None:
            return cls.compile(BUILT_IN)
        try:
            schema = strict_json.decode(read_file(path, _LIMIT)[0].removeprefix(codecs.BOM_UTF8))
            if not isinstance(schema, dict):
                raise ValueError("it is not a JSON object")
            return cls.compile(schema)
        except OSError as error:
            raise StartError(f"CONFIG_SCHEMA: cannot read {path}: {error.strerror}.") from None
        except (ConfdError, ValueError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise StartError(f"CONFIG_SCHEMA: {path} is not a JSON Schema: {reason}.") from None

    @property
    def source(self) -> Mapping[str, JsonValue]:
        """Return the schema before its compilation."""
        return self._schema

    def check(self, value: Mapping[str, JsonValue], size: int = 0) -> None:
        """
        Let a document pass that fits.

        @param size: bytes of the document; only the first violation of a large document is sent.
        @raise Unprocessable: with each violation and its JSON pointer (RFC 6901).
        """
        found = []
        for error in self._first(value) if size >= LARGE_BYTES else self._validator.iter_errors(value):
            found.append(
                {"pointer": reduce(pointer_to, error.instance_path, ""), "message": _shortened(self._explained(error))}
            )
            if len(found) == _MOST:
                break
        url = value.get("url")
        # A longer one is a violation already, and has no place in the cache.
        if self._schema is BUILT_IN and isinstance(url, str) and len(url) <= MAX_URL_LENGTH:
            # What a pattern can say of a URL is less than what the worker asks of it.
            reason = "" if any(each["pointer"] == "/url" for each in found) else _unfetchable(url)
            found += [{"pointer": "/url", "message": reason}] if reason else []
        if found:
            first = found[0]
            where = first["pointer"] or "the document"
            raise Unprocessable("schema_violation", f"The document does not fit: {where}: {first['message']}.", found)

    def _first(self, value: Mapping[str, JsonValue]) -> Iterable[jsonschema_rs.ValidationError]:
        # The validator copies the wrong value into each violation, and lets no other thread run until it has all: for a
        # megabyte of wrong items seconds.
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return (error,)
        return ()

    def _explained(self, error: jsonschema_rs.ValidationError) -> str:
        """A pattern says little to people; what the schema calls such a value says more."""
        *way, keyword = error.schema_path
        if keyword != "pattern":
            return str(error.message)
        schema: JsonValue = self._schema
        for step in way:
            schema = schema[step]
        description = schema.get("description")
        return f"{error.instance!r} is not {description}" if description else str(error.message)


# Most documents that follow each other have the same URL.
@lru_cache(maxsize=256)
def _unfetchable(url: str) -> str:
    """Return what forbids the worker to fetch a URL, without the URL, which may hold a password; empty for nothing."""
    try:
        fetchable(url)
    except ValueError as error:
        return str(error)
    return ""


def _shortened(message: str) -> str:
    """A message quotes the value first and says what is wrong with it last."""
    return message if len(message) <= 300 else f"{message[:100]} ... {message[-150:]}"
