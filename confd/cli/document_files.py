"""Documents in files: JSON, YAML and TOML, one by one or a folder with one file for each namespace."""

from __future__ import annotations

import codecs
import json
import stat
from collections.abc import Callable, Mapping
from datetime import date, time
from pathlib import Path
from typing import IO

from attrs import frozen

from confd.cli.errors import CommandError, Exit
from confd.codec import strict_json
from confd.codec.strict_json import JsonObject, JsonValue
from confd.codec.text import printable
from confd.errors import ConfdError, Malformed
from confd.model import valid_namespace

#: Bytes of the largest document that a controller can be configured to accept.
MAX_DOCUMENT_BYTES = 4 * 1048576

#: Standard input, in place of the name of a file.
STDIN = "-"


@frozen
class LoadedDocument:
    """
    The document of a file.

    @ivar name: path of the file, for messages.
    @ivar warnings: what readers of the format may understand differently, a sentence each.
    """

    name: str
    value: JsonObject
    warnings: tuple[str, ...] = ()


@frozen
class DocumentFolder:
    """
    A folder with one file for each namespace.

    @ivar documents: the documents by namespace, in the order of their names.
    @ivar ignored: names of the files and folders that are no documents.
    """

    documents: Mapping[str, LoadedDocument]
    ignored: tuple[str, ...]


def load(path: str, stdin: IO[bytes], format_: str | None = None) -> LoadedDocument:
    """
    Read a document; the suffix of the file says its format, and a file with another suffix is JSON.

    @param path: name of a file, or C{-} for standard input.
    @param format_: C{json}, C{yaml} or C{toml}; C{None} for the format that the suffix says.
    @raise CommandError: it cannot be read, or is not a document.
    """
    if path == STDIN:
        return parse(stdin.read(MAX_DOCUMENT_BYTES + 1), "Standard input", "" if format_ is None else f".{format_}")
    return load_file(path, format_, "; to change a key, write KEY=VALUE")


def load_file(path: str, format_: str | None = None, hint: str = "") -> LoadedDocument:
    """
    Read the document of a file.

    @param format_: see L{load}.
    @param hint: ends the sentence about a file that does not exist.
    @raise CommandError: see L{load}.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        meant = hint if isinstance(error, FileNotFoundError) else ""
        raise CommandError(Exit.USAGE, f"{path} cannot be read: {error.strerror}{meant}.") from None
    return parse(raw, path, Path(path).suffix if format_ is None else f".{format_}")


def load_folder(path: Path) -> DocumentFolder:
    """
    Read all documents of a folder.

    @raise CommandError: a name is no namespace, two files are for one namespace, or a file is not a document.
    """
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise CommandError(Exit.USAGE, f"{path} cannot be read: {error.strerror}.") from None
    files: dict[str, Path] = {}
    ignored = []
    for each in entries:
        if each.name.startswith(".") or each.suffix not in FORMATS or each.is_dir():
            ignored.append(each.name)
            continue
        namespace = namespace_of(each)
        if namespace in files:
            raise CommandError(Exit.USAGE, f"{path} has {files[namespace].name} and {each.name}; keep one.")
        files[namespace] = each
    return DocumentFolder({name: _load_member(files[name], path) for name in sorted(files)}, tuple(ignored))


def namespace_of(path: Path) -> str:
    """
    Return the namespace that a file is for.

    @raise CommandError: its name is not that of a namespace.
    """
    if not valid_namespace(path.stem):
        raise CommandError(
            Exit.USAGE,
            f"{path.name}: {path.stem!r} cannot name a namespace; use lower-case letters, digits and dashes, at most"
            " 63 characters.",
        )
    return path.stem


def _load_member(path: Path, folder: Path) -> LoadedDocument:
    """Read a file of a folder; links may lead to other files of the folder, as in a mounted ConfigMap."""
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve()):
            raise CommandError(Exit.USAGE, f"{path} leads out of {folder}; put the document into the folder.")
        if not stat.S_ISREG(path.stat().st_mode):
            raise CommandError(Exit.USAGE, f"{path} is not a regular file; remove or rename it.")
    except OSError as error:
        raise CommandError(Exit.USAGE, f"{path} cannot be read: {error.strerror}.") from None
    except RuntimeError:
        raise CommandError(Exit.USAGE, f"{path} is a link that leads to itself; remove it.") from None
    return load_file(str(path))


def parse(raw: bytes, name: str, suffix: str = ".json") -> LoadedDocument:
    """
    Decode a document.

    @param name: name of the text in error sentences.
    @param suffix: suffix of the file that held it.
    @raise CommandError: it is too large, or not an object.
    """
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise CommandError(
            Exit.INVALID, f"{name} is larger than {MAX_DOCUMENT_BYTES} bytes, the limit of every controller."
        )
    try:
        # Windows editors write a byte order mark.
        value, warnings = FORMATS.get(suffix, _read_json)(raw.removeprefix(codecs.BOM_UTF8))
    except ConfdError as error:
        sentence = f"{printable(name)}: {error.message.replace('The body is', 'this is')}"
        hint = ["For YAML or TOML, add --format yaml or --format toml."] if suffix not in FORMATS else []
        raise CommandError(Exit.INVALID, sentence, hint) from None
    if not isinstance(value, dict):
        kind = _KINDS.get(suffix, "a JSON object; write { ... }")
        raise CommandError(Exit.INVALID, f"{printable(name)}: this is not {kind}.")
    return LoadedDocument(name, value, warnings)


#: What a document is in each format, for the error about another value.
_KINDS = {".toml": "a table", **dict.fromkeys((".yaml", ".yml"), "a mapping; write key: value")}


def _read_json(raw: bytes) -> tuple[JsonValue, tuple[str, ...]]:
    return strict_json.decode(raw), ()


def _read_yaml(raw: bytes) -> tuple[JsonValue, tuple[str, ...]]:
    # Few commands read YAML or TOML, and each would pay for both.
    from confd.codec.yaml_reader import read_yaml

    found = read_yaml(_text(raw, "YAML"))
    return _as_json(found.value), found.warnings


def _read_toml(raw: bytes) -> tuple[JsonValue, tuple[str, ...]]:
    import tomllib

    try:
        value = tomllib.loads(_text(raw, "TOML"))
    except tomllib.TOMLDecodeError as error:
        raise Malformed("not_toml", f"This is not TOML: {error}.") from None
    except RecursionError:
        raise Malformed("too_deep", f"The TOML text is nested deeper than {strict_json.MAX_DEPTH} levels.") from None
    return _as_json(value), ()


def _text(raw: bytes, kind: str) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Malformed("not_utf8", f"The {kind} text begins with the byte order mark of UTF-16; save it as UTF-8.")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not_utf8", f"The {kind} text is not valid UTF-8.") from None


def _as_json(value: object) -> JsonValue:
    """
    Return a value as strict JSON has it; dates and times become strings.

    @raise Malformed: JSON cannot hold it.
    """
    return strict_json.decode(json.dumps(value, default=_date).encode())


def _date(value: object) -> str:
    assert isinstance(value, (date, time))
    return value.isoformat()


#: The parsers by suffix.
FORMATS: Mapping[str, Callable[[bytes], tuple[JsonValue, tuple[str, ...]]]] = {
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".toml": _read_toml,
}
