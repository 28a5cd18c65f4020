"""The commands that compare and check documents: C{diff} and C{validate}."""

from __future__ import annotations

import sys

import click
from click.shell_completion import CompletionItem

from confd.cli.api_client import value_of
from confd.cli.command import Command
from confd.cli.commands.completing import complete_file, complete_version
from confd.cli.commands.documents import print_warnings
from confd.cli.document_files import STDIN, load, load_file
from confd.cli.errors import CommandError, Exit
from confd.cli.options import format_option
from confd.cli.session import Session, common, pass_session
from confd.codec.strict_json import JsonObject, JsonValue
from confd.codec.text import printable


def _complete_side(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [*complete_version(context, parameter, incomplete), CompletionItem(incomplete, type="file")]


@click.command(
    "diff",
    cls=Command,
    short_help="Show the difference between two versions, or between a version and a file.",
    examples=[
        ("confdctl diff", "show the last change"),
        ("confdctl diff 3", "compare version 3 with the current one"),
        ("confdctl diff 3 5 -o json", "compare two versions; JSON includes a patch (RFC 6902)"),
        ("confdctl diff config.yaml", "show what confdctl set config.yaml would change"),
        ("confdctl diff 3 config.yaml", "compare version 3 with a file"),
    ],
)
@click.argument("from_", required=False, metavar="[FROM]", shell_complete=_complete_side)
@click.argument("to", required=False, shell_complete=_complete_side)
@format_option
@common()
@pass_session
def diff(session: Session, from_: str | None, to: str | None, format_: str | None) -> None:
    """
    Compare FROM with TO; each is a version, or a file (- reads standard input). Without TO, a version is compared with
    the current one, and the current one with a file. Without FROM, show the last change.
    """
    sides = [each for each in (from_, to) if each is not None]
    if any(_version(each) is None for each in sides):
        _diff_files(session, sides, format_)
        return
    old, new = (_version(each) if each else None for each in (from_, to))
    if old is None:
        new = session.controller.get("/api/v1/config", namespace=session.namespace)["version"]
        old = new - 1
        if not old:
            raise CommandError(
                Exit.NOT_FOUND,
                f"Version 1 of {session.namespace} is the first version; publish another one to compare.",
            )
    query = {"namespace": session.namespace, "from": old, "to": new}
    found = session.controller.get("/api/v1/config/diff", **query)
    _show(session, found, f"Versions {found['from']} and {found['to']} have the same document.")


def _version(text: str) -> int | None:
    """
    Return the version that an argument names; C{None} if it names a file.

    @raise CommandError: the number is no version.
    """
    if not (text.isascii() and text.isdecimal()):
        return None
    if not 0 < int(text[:19]) < 2**53:
        raise CommandError(Exit.USAGE, f"{printable(text)[:40]} is no version; versions begin with 1.")
    return int(text)


def _diff_files(session: Session, sides: list[str], format_: str | None) -> None:
    from confd.controller.configs.diff import ordered_like, patch, unified

    if len(sides) == 1:
        sides.insert(0, "")
    # Files first: a name that is mistyped costs no request.
    files = {each: _load(session, each, format_) for each in sides if each and _version(each) is None}
    (old_name, old), (new_name, new) = (files.get(each) or _revision(session, each) for each in sides)
    text = unified(_lines(ordered_like(old, new)), _lines(new), old_name, new_name)
    found = {"from": old_name, "to": new_name, "patch": list(patch(old, new)), "text": text}
    _show(session, found, f"{printable(old_name)} and {printable(new_name)} have the same document.")


def _load(session: Session, path: str, format_: str | None) -> tuple[str, JsonObject]:
    """Return the name and the document of a file, or of standard input."""
    found = load(path, sys.stdin.buffer, format_) if path == STDIN else load_file(path, format_)
    print_warnings(session, found)
    return found.name, found.value


def _revision(session: Session, text: str) -> tuple[str, JsonObject]:
    """Return the name and the document of a version; of the current one for an empty text."""
    number = _version(text) if text else 0
    path = f"/api/v1/config/versions/{number}" if number else "/api/v1/config"
    revision = session.controller.get(path, namespace=session.namespace)
    return f"version {revision['version']}", revision["data"]


def _lines(value: JsonValue) -> list[str]:
    from confd.cli.commands.documents import as_text

    return as_text(value).splitlines()


def _show(session: Session, found: JsonObject, same: str) -> None:
    def draw() -> None:
        session.screen.diff(found["text"])
        if not found["patch"]:
            session.screen.say(same)

    session.screen.show(found, draw)


@click.command(
    "validate",
    cls=Command,
    short_help="Check a document, and publish nothing.",
    examples=[
        ("confdctl validate config.yaml", "check a file, as confdctl set would"),
        ("render | confdctl validate - --format yaml -n edge", "check the output of a program for a namespace"),
    ],
)
@click.argument("file", metavar="FILE|-", shell_complete=complete_file)
@format_option
@common()
@pass_session
def validate(session: Session, file: str, format_: str | None) -> None:
    """
    Check that FILE (- reads standard input) is a document that the controller accepts: its format, its size, and the
    schema. Nothing is published.
    """
    name, document = _load(session, file, format_)
    query = {"namespace": session.namespace, "dry_run": True}
    found = value_of(session.controller.call("POST", "/api/v1/config", document, query=query))
    changes = "It is the current document." if not found["patch"] else "It differs from the current document."
    said = f"{printable(name)} is a valid document for {session.namespace}. {changes}"
    result = {"valid": True, "namespace": session.namespace, "changes": bool(found["patch"])}
    session.screen.show(result, lambda: session.screen.line(said))
