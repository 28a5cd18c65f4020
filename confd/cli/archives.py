"""
Read the archives that the portals of Apollo and Nacos export.

Apollo names a member C{owner/app/env/app+cluster+namespace}, and adds C{.properties} where the namespace has no format.
Nacos names it C{group/data id}; C{.meta.yml} (Nacos 1) and C{.metadata.yml} (Nacos 2) describe the members.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator

from confd.cli.document_files import FORMATS
from confd.cli.dumps import MAX_DUMP_BYTES, DumpedDocument, ReadOptions, read_flat
from confd.cli.errors import CommandError, Exit
from confd.cli.key_tree import namespace_named
from confd.codec.text import printable

#: Members of an archive.
MAX_MEMBERS = 10_000

_DEFAULT_GROUP = "DEFAULT_GROUP"
_METADATA = (".metadata", ".meta.yml", ".metadata.yml")

#: An entry of C{.metadata.yml}: the field and its value.
_FIELD = re.compile(r"^[-\s]*(dataId|group|type):\s*['\"]?(.*?)['\"]?\s*$")


def read_archive(
    kind: str, raw: bytes, name: str, options: ReadOptions, limit: int = MAX_DUMP_BYTES
) -> list[DumpedDocument]:
    """
    Return the documents in an archive, in the order of their namespaces.

    @param kind: C{apollo} or C{nacos}.
    @param name: name of the archive in errors.
    @param limit: bytes of all members.
    @raise CommandError: it is no such archive, or two members are for one namespace.
    """
    members = dict(_members(raw, name, limit))
    types = _types(members.get(".metadata.yml", b""))
    found: dict[str, tuple[str, DumpedDocument]] = {}
    skipped = []
    for path, content in members.items():
        if path.endswith(_METADATA) or not path.startswith(options.prefix):
            continue
        title, suffix = _apollo(path, name) if kind == "apollo" else _nacos(path, types, name)
        if f".{suffix}" not in FORMATS and suffix != "properties":
            skipped.append(f"{printable(path)} is left out: it is no document of JSON, YAML, TOML or properties.")
            continue
        namespace = namespace_named(title, name)
        if namespace in found:
            raise CommandError(
                Exit.INVALID,
                f"{name}: {printable(found[namespace][0])} and {printable(path)} are both for the namespace"
                f" {namespace}; choose one with --prefix.",
            )
        document = read_flat(suffix, content, f"{name}: {printable(path)}", ReadOptions(nest=options.nest))
        found[namespace] = path, DumpedDocument(namespace, document.value, document.texts, document.notes)
    if not found:
        raise CommandError(
            Exit.NOT_FOUND, f"{name} holds no document" + (" with that prefix." if options.prefix else ".")
        )
    documents = [found[namespace][1] for namespace in sorted(found)]
    first = documents[0]
    documents[0] = DumpedDocument(first.namespace, first.value, first.texts, (*skipped, *first.notes))
    return documents


def _members(raw: bytes, name: str, limit: int) -> Iterator[tuple[str, bytes]]:
    """Yield the members by their paths; the size counts while they are unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            if len(members) > MAX_MEMBERS:
                raise CommandError(Exit.INVALID, f"{name} has more than {MAX_MEMBERS} members.")
            left, seen = limit, set()
            for member in members:
                path = member.filename.replace("\\", "/")
                if path in seen:
                    raise CommandError(Exit.INVALID, f"{name} has {printable(path)} twice.")
                seen.add(path)
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise CommandError(Exit.INVALID, f"{name}: {printable(path)} is a link, which no export has.")
                with archive.open(member) as file:
                    content = file.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise CommandError(Exit.INVALID, f"{name} is larger than {limit} bytes when unpacked.")
                yield path, content
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError):
        raise CommandError(Exit.INVALID, f"{name} is no zip archive, or is incomplete.") from None
    except (RuntimeError, NotImplementedError):
        raise CommandError(Exit.INVALID, f"{name} is encrypted, or compressed in an unusual way.") from None


def _apollo(path: str, name: str) -> tuple[str, str]:
    """Return the name of the namespace, and the format."""
    parts = path.rpartition("/")[2].split("+")
    if len(parts) != 3 or "." not in parts[2]:
        raise CommandError(Exit.INVALID, f"{name}: {printable(path)} is no member of an export of Apollo's portal.")
    title, _, suffix = parts[2].rpartition(".")
    return title, suffix.lower()


def _nacos(path: str, types: dict[tuple[str, str], str], name: str) -> tuple[str, str]:
    """Return the name of the namespace, and the format."""
    group, slash, data_id = path.partition("/")
    if not slash or "/" in data_id:
        raise CommandError(Exit.INVALID, f"{name}: {printable(path)} is no member of an export of Nacos.")
    title, dot, suffix = data_id.rpartition(".")
    if not dot or (f".{suffix}" not in FORMATS and suffix != "properties"):
        title, suffix = data_id, types.get((group, data_id), "")
    return (title if group == _DEFAULT_GROUP else f"{group}-{title}"), suffix.lower()


def _types(metadata: bytes) -> dict[tuple[str, str], str]:
    """Return the format of each data id that the metadata of Nacos 2 describes, by group and data id."""
    found, entry = {}, dict[str, str]()
    for line in [*metadata.decode("utf-8", "replace").splitlines(), "-"]:
        if line.lstrip().startswith("-") and entry:
            found[entry.get("group", ""), entry.get("dataId", "")] = entry.get("type", "")
            entry = {}
        field = _FIELD.match(line)
        if field is not None:
            entry[field[1]] = field[2]
    return found
