"""
Templates: the text of a file, made by Jinja2 in a sandbox.

A template reaches the document and facts of the configuration and the host. It has no clock, network or environment:
what it renders changes only with the configuration. A publisher cannot add a line, because a substituted value with a
control character is rejected unless the template says C{|multiline}.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import shlex
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import jinja2
from attrs import define, field
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from confd.agent.outputs.file.formats import MAX_FILE_BYTES, write_ini, write_yaml
from confd.agent.outputs.file.ownership import check_descriptor
from confd.codec.toml_writer import write_toml
from confd.codec.values import RenderError, Value

T = TypeVar("T")

#: Bytes that a template may have.
MAX_TEMPLATE_BYTES: Final = 1024 * 1024

#: Items of a sequence, or digits of a number, that one multiplication or power may make.
_MAX_PRODUCT = 1_000_000

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TemplateError(RenderError):
    """A template that cannot be read or rendered."""


class DocumentPart(dict[str, Value]):
    """An object of the document, which knows its name in the template."""

    __slots__ = ("path",)

    def __init__(self, path: str, members: Mapping[str, Value]) -> None:
        super().__init__((key, _parts(f"{path}.{key}", value)) for key, value in members.items())
        self.path = path


def _parts(path: str, value: Value) -> Value:
    if isinstance(value, Mapping):
        return DocumentPart(path, value)
    if isinstance(value, list):
        return [_parts(f"{path}[{number}]", each) for number, each in enumerate(value)]
    return value


class _Lines(str):
    """A text that may contain line breaks."""

    __slots__ = ()


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, in which keys of the document come before methods of a dictionary."""

    intercepted_binops = frozenset(["*", "**"])

    def getattr(self, obj: Value, attribute: str) -> Value:
        if isinstance(obj, dict):
            return obj[attribute] if attribute in obj else self._missing(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Value, argument: Value) -> Value:
        if isinstance(obj, dict):
            return obj[argument] if argument in obj else self._missing(obj, argument)
        return super().getitem(obj, argument)

    def _missing(self, obj: dict[str, Value], name: Any) -> Value:
        # The methods of a mapping that templates commonly call.
        if not isinstance(obj, DocumentPart) or name in ("items", "keys", "values", "get"):
            return super().getattr(obj, name)
        return self.undefined(name=f"{obj.path}.{name}")

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Value, right: Value) -> Value:
        if operator == "*":
            for times, many in ((left, right), (right, left)):
                if isinstance(times, int) and hasattr(many, "__len__") and times * len(many) > _MAX_PRODUCT:
                    raise SecurityError("a multiplication makes too long a sequence")
        elif isinstance(left, int) and isinstance(right, int) and right * left.bit_length() > _MAX_PRODUCT:
            raise SecurityError("a power makes too large a number")
        return super().call_binop(context, operator, left, right)


@define(eq=False)
class Template:
    """
    A template file.

    @ivar path: absolute path of the template; the templates that it includes are in the same folder.
    @ivar host: host name of the machine.
    @ivar metadata: C{AGENT_METADATA} as a mapping.
    """

    path: str
    host: str = ""
    metadata: Mapping[str, str] = field(factory=dict)

    def check(self) -> None:
        """
        Read and compile the template.

        @raise TemplateError: if the template cannot be read or has a syntax error.
        @raise Untrusted: if others may change the template.
        """
        self._guarded(self._load)

    def render(self, document: Value, facts: Mapping[str, object]) -> bytes:
        """
        Return the bytes of the file.

        @param document: the document, or the part of it that the output writes.
        @param facts: C{version}, C{tag}, C{namespace} and C{checksum} of the configuration.
        @raise TemplateError: if the template cannot be rendered.
        @raise Untrusted: if others may change the template.
        """
        return self._guarded(lambda: self._render(document, facts))

    def _render(self, document: Value, facts: Mapping[str, object]) -> bytes:
        names = {
            "doc": _parts("doc", document),
            "confd": dict(facts),
            "host": self.host,
            "meta": dict(self.metadata),
        }
        pieces, size = [], 0
        for piece in self._load().generate(names):
            pieces.append(piece.encode())
            size += len(pieces[-1])
            if size > MAX_FILE_BYTES:
                raise TemplateError(f"{self.path} renders more than {MAX_FILE_BYTES} bytes")
        return b"".join(pieces)

    def _load(self) -> jinja2.Template:
        folder, name = os.path.split(self.path)
        loader = jinja2.FunctionLoader(lambda each: _read(folder, each))
        engine = _Environment(
            loader=loader,
            undefined=jinja2.StrictUndefined,
            finalize=_finalize,
            keep_trailing_newline=True,
            autoescape=False,
            cache_size=0,
        )
        engine.filters.update(_FILTERS)
        return engine.get_template(name)

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"line {error.lineno} of {error.filename or self.path}: {error.message}") from None
        except jinja2.TemplateNotFound as error:
            raise TemplateError(f"{os.path.join(os.path.dirname(self.path), str(error.name))} does not exist") from None
        except TemplateError:
            raise
        except OSError as error:
            raise TemplateError(f"{error.filename or self.path}: {error.strerror}") from None
        except RecursionError:
            raise TemplateError(f"{self.path} includes itself") from None
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise TemplateError(f"{self._place(error)}: {_reason(error)}") from None

    def _place(self, error: Exception) -> str:
        folder = os.path.dirname(self.path)
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if os.path.dirname(frame.filename) == folder:
                return f"line {frame.lineno} of {frame.filename}"
        return self.path


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text[:300] or type(error).__name__


def _read(folder: str, name: str) -> tuple[str, str, Callable[[], bool]]:
    """Read a template of a folder."""
    if "/" in name or name in ("", ".", ".."):
        raise TemplateError(f"{name!r} is not in the folder of the template")
    path = os.path.join(folder, name)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise jinja2.TemplateNotFound(name) from None
    with open(descriptor, "rb") as file:
        check_descriptor(descriptor, path)
        raw = file.read(MAX_TEMPLATE_BYTES + 1)
    if len(raw) > MAX_TEMPLATE_BYTES:
        raise TemplateError(f"{path} has more than {MAX_TEMPLATE_BYTES} bytes")
    try:
        return raw.decode(), path, lambda: False
    except UnicodeDecodeError:
        raise TemplateError(f"{path} is not UTF-8") from None


def _finalize(value: Value) -> Value:
    """Reject a value that adds a line."""
    text = value if isinstance(value, str) else str(value)
    if not isinstance(value, _Lines) and _CONTROL.search(text):
        raise TemplateError("a value holds a line break or control character; apply the filter multiline to allow it")
    if value is None:
        raise TemplateError("a value is null; apply the filter default(…, true) to replace it")
    return value


# -- filters --


def _compact_json(value: Value) -> str:
    # An Undefined is no JSON value, and says so with its name.
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, sort_keys=True)


def _plain(value: Value) -> Value:
    if isinstance(value, jinja2.Undefined):
        # It raises the error that names the missing value.
        str(value)
    return value


def _lines(writer: Callable[[Value], str]) -> Callable[[Value], str]:
    return lambda value: _Lines(writer(_plain(value)))


def _sh(value: Value) -> str:
    return shlex.quote(str(value))


def _b64encode(value: Value) -> str:
    return base64.b64encode(str(value).encode()).decode()


def _b64decode(value: Value) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise TemplateError("a value is not the Base64 of a text in UTF-8") from None


def _sha256(value: Value) -> str:
    return hashlib.sha256(str(value).encode()).hexdigest()


def _regex_replace(value: Value, pattern: str, replacement: str = "") -> str:
    try:
        return re.sub(pattern, replacement, str(value))
    except re.error as error:
        raise TemplateError(f"the regular expression {pattern!r} is wrong: {error}") from None


_FILTERS: Final[Mapping[str, Callable[..., object]]] = {
    "json": _compact_json,
    "yaml": _lines(write_yaml),
    "toml": _lines(write_toml),
    "ini": _lines(write_ini),
    "sh": _sh,
    "b64encode": _b64encode,
    "b64decode": _b64decode,
    "sha256": _sha256,
    "regex_replace": _regex_replace,
    "multiline": lambda value: _Lines(value),
}
