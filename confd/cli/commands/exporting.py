"""The command C{export}: write the documents of a controller into files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from confd.cli.api_client import value_of
from confd.cli.command import Command
from confd.cli.commands.completing import complete_file
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable
from confd.runtime.atomic_file import replace_file

_CONFIG, _VERSIONS = "/api/v1/config", "/api/v1/config/versions"

#: Versions on a page of the history.
_PAGE = 500


@click.command(
    "export",
    cls=Command,
    short_help="Write the documents of all namespaces into files.",
    examples=[
        ("confdctl export config", "write config/NAMESPACE.json for each namespace"),
        ("confdctl export config --force --history", "write them again, with all versions"),
        ("confdctl export - | jq .edge.url", "print one JSON object with all documents"),
    ],
)
@click.argument("folder", metavar="DIR|-", shell_complete=complete_file)
@click.option("--history", is_flag=True, help="Write NAMESPACE.history.jsonl, too: a line a version, oldest first.")
@click.option("--force", is_flag=True, help="Overwrite the files that the command writes; others stay.")
@common(namespace=False)
@pass_session
def export(session: Session, folder: str, history: bool, force: bool) -> None:
    """
    Write the current document of each namespace to DIR/NAMESPACE.json.

    confdctl apply -f DIR --check then finds no difference. Without --force, no file is overwritten, and nothing is
    written if one of the files exists. The value - prints one JSON object, with the namespaces as its keys.
    """
    if folder == "-" and history:
        raise CommandError(Exit.USAGE, "--history needs files; name a folder in place of -.")
    names = [each["name"] for each in session.controller.get("/api/v1/namespaces")]
    documents = [(name, _current(session, name)) for name in names]
    if folder == "-":
        session.screen.raw(_text(dict(documents)).decode())
        return
    lines = [(f"{name}.history.jsonl", "".join(_history(session, name)).encode()) for name in names if history]
    files = [(f"{name}.json", _text(document)) for name, document in documents]
    for path in write_files(Path(folder), [*files, *lines], force):
        session.screen.line(printable(path))


def write_documents(folder: Path, documents: Sequence[tuple[str, JsonObject]], force: bool) -> list[str]:
    """Write a file for each namespace: see L{write_files}."""
    return write_files(folder, [(f"{name}.json", _text(document)) for name, document in documents], force)


def write_files(folder: Path, files: Sequence[tuple[str, bytes]], force: bool) -> list[str]:
    """
    Write files into a folder, each as a whole; make the folder if it does not exist.

    @param files: names and contents.
    @param force: overwrite files.
    @return: the paths.
    @raise CommandError: a file exists, and nothing was written; or a file cannot be written.
    """
    there = [name for name, _ in files if (folder / name).is_symlink() or (folder / name).exists()]
    if there and not force:
        more = f" and {len(there) - 1} more files" if len(there) > 1 else ""
        raise CommandError(
            Exit.CONFLICT,
            f"{printable(folder / there[0])}{more} would be overwritten; add --force, or name another DIR.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files:
            replace_file(str(folder / name), content)
    except OSError as error:
        raise CommandError(Exit.USAGE, f"{printable(folder)} cannot be written: {error.strerror}.") from None
    return [str(folder / name) for name, _ in files]


def _current(session: Session, namespace: str) -> JsonObject:
    answer = value_of(session.controller.call("GET", _CONFIG, query={"namespace": namespace}))
    document: JsonObject = answer["data"]
    return document


def _history(session: Session, namespace: str) -> Iterator[str]:
    """Yield a line for each version that is kept, oldest first."""
    versions: list[JsonObject] = []
    before: int | None = None
    while True:
        query = {"namespace": namespace, "limit": _PAGE, "before": before}
        page = value_of(session.controller.call("GET", "/api/v1/config/history", query=query))
        versions += page["items"]
        before = page.get("next")
        if not before:
            break
    for each in reversed(versions):
        whole = value_of(
            session.controller.call("GET", f"{_VERSIONS}/{each['version']}", query={"namespace": namespace})
        )
        yield json.dumps({**each, "document": whole["data"]}, ensure_ascii=False) + "\n"


def _text(document: JsonObject) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
