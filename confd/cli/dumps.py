"""Read dumps of other programs. A dump is data of others: nothing in it names a file."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping

from attrs import frozen

from confd.cli.document_files import parse
from confd.cli.errors import CommandError, Exit
from confd.cli.key_tree import flat, nested
from confd.codec import strict_json
from confd.codec.strict_json import JsonObject, JsonValue
from confd.codec.text import printable
from confd.errors import ConfdError

#: Bytes of the largest dump.
MAX_DUMP_BYTES = 64 * 1048576

Pairs = Iterator[tuple[str, str]]


@frozen
class ReadOptions:
    """
    How to read a dump.

    @ivar prefix: only keys, or members of an archive, that begin with it; keys lose it.
    @ivar nest: whether dots separate the parts of a key of C{properties} and C{env}.
    """

    prefix: str = ""
    nest: bool = False


@frozen
class DumpedDocument:
    """
    A document of a dump.

    @ivar namespace: its namespace; C{None} if the dump does not name one.
    @ivar texts: whether its values are texts that may stand for other values.
    @ivar notes: what was left out, a sentence each.
    """

    namespace: str | None
    value: JsonObject
    texts: bool = False
    notes: tuple[str, ...] = ()


def read_dump(path: str, limit: int = MAX_DUMP_BYTES) -> bytes:
    """
    Read a file.

    @param limit: bytes of the file.

    @raise CommandError: it cannot be read, or is too large.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise CommandError(Exit.USAGE, f"{printable(path)} cannot be read: {error.strerror}.") from None
    if len(raw) > limit:
        raise CommandError(Exit.INVALID, f"{printable(path)} is larger than {limit} bytes; split the dump.")
    return raw


def read_flat(kind: str, raw: bytes, name: str, options: ReadOptions) -> DumpedDocument:
    """
    Return the document in a dump of one document.

    @param kind: a key of L{FLAT_KINDS}, C{yaml}, C{toml} or C{json}.
    @param name: name of the dump in errors.
    @raise CommandError: it is no such dump, or its keys do not fit into one document.
    """
    if kind not in FLAT_KINDS:
        read = parse(raw, name, f".{kind}")
        return DumpedDocument(None, read.value, notes=read.warnings)
    pairs, notes = list(FLAT_KINDS[kind](raw, name)), []
    if not pairs and kind in _BASE64_KINDS:
        raise CommandError(Exit.INVALID, f"{name} holds no key.")
    chosen = [(key.removeprefix(options.prefix), text) for key, text in pairs if key.startswith(options.prefix)]
    if not chosen and options.prefix:
        raise CommandError(Exit.NOT_FOUND, f"{name} holds no key that begins with {printable(options.prefix)}.")
    if kind == "consul":
        # A folder that was made by hand is a key that ends with a slash.
        folders = [key for key, text in chosen if not text and (key.endswith("/") or not key)]
        chosen = [each for each in chosen if each[0] not in folders]
        notes.append("The flags of the keys are dropped.")
    if kind in _BASE64_KINDS:
        return DumpedDocument(None, nested(chosen, "/", name), texts=True, notes=tuple(notes))
    document = nested(chosen, ".", name) if options.nest else flat(chosen, name)
    return DumpedDocument(None, document, texts=True)


def _read_json(raw: bytes, name: str) -> JsonValue:
    try:
        return strict_json.decode(raw.lstrip(b"\xef\xbb\xbf"))
    except ConfdError as error:
        raise CommandError(
            Exit.INVALID,
            f"{name}: {error.message.replace('The body is', 'this is').rstrip('.')}; the dump may be incomplete.",
        ) from None


def _read_consul(raw: bytes, name: str) -> Pairs:
    """Yield what C{consul kv export} wrote."""
    entries = _read_json(raw, name)
    if not isinstance(entries, list):
        raise CommandError(Exit.INVALID, f"{name} is no dump of Consul; make one with: consul kv export")
    for each in entries:
        if isinstance(each, dict) and "Key" in each:
            raise CommandError(
                Exit.INVALID, f"{name} is an answer of the HTTP API of Consul; make a dump with: consul kv export"
            )
        if not isinstance(each, dict) or not isinstance(each.get("key"), str):
            raise CommandError(Exit.INVALID, f"{name} is no dump of Consul; make one with: consul kv export")
        yield each["key"], _decoded(each.get("value") or "", each["key"], name)


def _read_etcd(raw: bytes, name: str) -> Pairs:
    """Yield what C{etcdctl get -w json} wrote."""
    answer = _read_json(raw, name)
    advice = f"{name} is no dump of etcd 3; make one with: etcdctl get --prefix '' -w json"
    if not isinstance(answer, dict) or "header" not in answer:
        raise CommandError(Exit.INVALID, advice)
    entries = answer.get("kvs", [])
    if answer.get("more") or answer.get("count", 0) != len(entries):
        raise CommandError(
            Exit.INVALID, f"{name} holds {len(entries)} of {answer.get('count')} keys; make the dump without --limit."
        )
    for each in entries:
        if not isinstance(each, dict) or not isinstance(each.get("key"), str):
            raise CommandError(Exit.INVALID, advice)
        key = _decoded(each["key"], each["key"], name)
        yield key, _decoded(each.get("value") or "", key, name)


def _decoded(text: object, key: str, name: str) -> str:
    """Return the text in base64 of a key."""
    try:
        return base64.b64decode(str(text), validate=True).decode("utf-8")
    except binascii.Error:
        reason = "is not base64"
    except UnicodeDecodeError:
        reason = "is not UTF-8 text, which a document cannot hold"
    raise CommandError(Exit.INVALID, f"{name}: the value of {printable(key)} {reason}.")


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CommandError(Exit.INVALID, f"{name}, line {line}: this is not UTF-8.") from None


_ENV_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.ASCII | re.DOTALL)
_DOUBLE, _SINGLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*', re.DOTALL), re.compile(r"'([^']*)'\s*")


def _read_env(raw: bytes, name: str) -> Pairs:
    """Yield the lines of a file of environment variables."""
    for number, line in enumerate(_text(raw, name).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith(("#", ";")):
            continue
        found = _ENV_LINE.fullmatch(text)
        if found is None:
            raise CommandError(Exit.INVALID, f"{name}, line {number}: this is not NAME=value.")
        yield found[1], _unquoted(found[2], name, number)


def _unquoted(text: str, name: str, line: int) -> str:
    if text[:1] == '"':
        double = _DOUBLE.fullmatch(text)
        if double is not None:
            return re.sub(r'\\(["\\`$])', r"\1", double[1])
    elif text[:1] == "'":
        single = _SINGLE.fullmatch(text)
        if single is not None:
            return single[1]
    else:
        return text
    raise CommandError(Exit.INVALID, f"{name}, line {line}: the quotes do not end, or text follows them.")


_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_PROPERTY = re.compile(r"((?:[^\s:=\\]|\\.)*)[ \t\f]*[:=]?[ \t\f]*(.*)", re.DOTALL)


def _read_properties(raw: bytes, name: str) -> Pairs:
    """Yield the entries of a file of Java properties."""
    for line in _logical_lines(_text(raw, name)):
        found = _PROPERTY.fullmatch(line)
        assert found is not None
        key, text = (_unescaped(each) for each in found.groups())
        try:
            (key + text).encode()
        except UnicodeEncodeError:
            raise CommandError(Exit.INVALID, f"{name}: {printable(key)} holds half of a surrogate pair.") from None
        yield key, text


def _logical_lines(text: str) -> Iterator[str]:
    """Yield the lines of properties without comments; a backslash at the end continues a line."""
    line = ""
    for natural in re.split(r"\r\n|[\r\n]", text):
        stripped = natural.lstrip(" \t\f")
        if not line and stripped[:1] in ("", "#", "!"):
            continue
        line += stripped
        if (len(line) - len(line.rstrip("\\"))) % 2:
            line = line[:-1]
        else:
            yield line
            line = ""
    if line:
        yield line


def _unescaped(text: str) -> str:
    def replace(found: re.Match[str]) -> str:
        escaped = found[1]
        return chr(int(escaped[1:], 16)) if len(escaped) == 5 else _ESCAPES.get(escaped, escaped)

    joined = _ESCAPE.sub(replace, text)
    # Two escapes stand for a character beyond the first plane.
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if "\\u" in text else joined


_BASE64_KINDS = ("consul", "etcd")

#: The readers of dumps that are flat keys and values.
FLAT_KINDS: Mapping[str, Callable[[bytes, str], Pairs]] = {
    "consul": _read_consul,
    "etcd": _read_etcd,
    "properties": _read_properties,
    "env": _read_env,
}
