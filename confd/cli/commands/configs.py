"""The commands on documents and versions: C{get}, C{set}, C{history}, C{diff}, C{rollback}."""

from __future__ import annotations

from collections.abc import Sequence

import click

from confd.cli.api_client import value_of
from confd.cli.command import Command
from confd.cli.commands.changing import DocumentChange, roll_back
from confd.cli.commands.completing import complete_key, complete_source, complete_version
from confd.cli.commands.documents import as_json_words, find, sources
from confd.cli.commands.events_since import EntryFilter
from confd.cli.commands.publish import PublishOptions, publishing_options
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import DOCUMENT_FORMS, LIST_FORMS
from confd.cli.listing import Column, Kind, column
from confd.cli.options import format_option, parse_since, since_option
from confd.cli.session import Session, common, pass_session
from confd.cli.text import as_json
from confd.codec.strict_json import JsonObject
from confd.model import POLL_INTERVAL_MAX, POLL_INTERVAL_MIN

VERSION = click.IntRange(min=1)


@click.command(
    "get",
    cls=Command,
    short_help="Print the current document, or one part of it.",
    examples=[
        ("confdctl get", "print the current document as JSON"),
        ("confdctl get url", "print one value; strings are printed without quotes"),
        ("confdctl get -n edge --version 7 -o yaml", "print version 7 of another namespace as YAML"),
        ("confdctl get --meta", "include tag, checksum and poll interval"),
    ],
)
@click.argument("key", required=False, shell_complete=complete_key)
@click.option(
    "--version",
    type=VERSION,
    metavar="N",
    help="Print version N instead of the current one.",
    shell_complete=complete_version,
)
@click.option("--meta", is_flag=True, help="Include tag, checksum, poll interval and author.")
@common(forms=DOCUMENT_FORMS)
@pass_session
def get(session: Session, key: str | None, version: int | None, meta: bool) -> None:
    """
    Print the current document, or the value at KEY.

    A KEY names nested values with dots, and items of arrays by their index: limits.rate, servers.0.
    """
    path = "/api/v1/config" if version is None else f"/api/v1/config/versions/{version}"
    answer = value_of(session.controller.call("GET", path, query={"namespace": session.namespace}))
    value = answer if meta else answer["data"]
    if key is not None:
        value = find(value, key)
    session.screen.show(value, lambda: session.screen.raw(value if isinstance(value, str) else as_json(value)))


@click.command(
    "set",
    cls=Command,
    short_help="Publish a document: from a file, by keys, or from an editor.",
    examples=[
        ("confdctl set config.json", "publish a file; shows the diff and asks first"),
        ("confdctl set url=https://example.com limits.rate=10", "change two keys of the current document"),
        ("confdctl set --edit -m 'new upstream'", "edit the current document"),
        ("render | confdctl set - --yes --wait applied --quorum 95", "publish from a script, and wait for the agents"),
        ("confdctl set config.yaml --dry-run", "show the diff without publishing"),
        ("confdctl set limits.rate=10 --propose -m 'for the sale'", "propose the change to a reviewer"),
    ],
)
@click.argument("source", nargs=-1, metavar="[FILE|-] [KEY=VALUE]...", shell_complete=complete_source)
@click.option("--string", "texts", multiple=True, metavar="KEY=TEXT", help="Set a key to a text; may be repeated.")
@click.option("--json", "values", multiple=True, metavar="KEY=JSON", help="Set a key to JSON; may be repeated.")
@click.option(
    "--unset", multiple=True, metavar="KEY", help="Remove a key; may be repeated.", shell_complete=complete_key
)
@click.option("-e", "--edit", "in_editor", is_flag=True, help="Edit the document in $VISUAL, $EDITOR or vi.")
@click.option(
    "--poll-interval",
    type=click.IntRange(POLL_INTERVAL_MIN, POLL_INTERVAL_MAX),
    metavar="SECONDS",
    help="Set the poll interval of the agents.  [default: unchanged]",
)
@format_option
@publishing_options
@common()
@pass_session
def set_(
    session: Session,
    /,
    source: tuple[str, ...],
    texts: tuple[str, ...],
    values: tuple[str, ...],
    unset: tuple[str, ...],
    in_editor: bool,
    poll_interval: int | None,
    format_: str | None,
    options: PublishOptions,
) -> None:
    """
    Publish a new version of the document.

    The document comes from FILE: YAML or TOML with a suffix of that name, else JSON (- reads standard input). Without
    FILE it is the current one. KEY=VALUE and --unset change keys of it, and --edit opens it in your editor.

    A VALUE is read as JSON, and as a string if it is not JSON; KEY:=JSON is JSON only. A KEY names nested values with
    dots, and items of arrays by their index: servers.0.url=https://example.com.

    The command shows the diff and asks before it publishes; --yes skips the question. If someone else published in the
    meantime, nothing is changed.
    """
    file, assignments = sources(source)
    assignments += as_json_words(texts, values)
    if not (file or assignments or unset or in_editor or poll_interval):
        raise CommandError(
            Exit.USAGE, "Nothing to publish: name a FILE, KEY=VALUE, --unset or --edit; see confdctl set --help."
        )
    change = DocumentChange(file, assignments, unset, in_editor, poll_interval, format_)
    change.publish(session, options)


@click.command(
    "edit",
    cls=Command,
    short_help="Edit the document, and publish it.",
    examples=[
        ("confdctl edit", "edit the current document; shows the diff and asks before it publishes"),
        ("confdctl edit -m 'new upstream' --wait applied", "give a reason, and wait for the agents"),
    ],
)
@publishing_options
@common()
@pass_session
def edit(session: Session, /, options: PublishOptions) -> None:
    """
    Edit the current document in $VISUAL, $EDITOR or vi, and publish the result. This is confdctl set --edit.

    A text that the controller refuses is offered again. If someone else published in the meantime, nothing is changed,
    and your text is kept.
    """
    DocumentChange(in_editor=True).publish(session, options)


@click.command(
    "unset",
    cls=Command,
    short_help="Remove keys of the document, and publish it.",
    examples=[("confdctl unset limits.rate servers.0", "remove one key, and the first item of an array")],
)
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=complete_key)
@publishing_options
@common()
@pass_session
def unset(session: Session, /, keys: tuple[str, ...], options: PublishOptions) -> None:
    """Remove each KEY of the current document, and publish the result. This is confdctl set --unset KEY."""
    DocumentChange(removed=keys).publish(session, options)


@click.command(
    "history",
    cls=Command,
    short_help="List the versions: author, time and comment.",
    examples=[
        ("confdctl history", "list the latest 20 versions"),
        ("confdctl history --author ann --since 7d", "list what ann published in the last seven days"),
        ("confdctl history --limit 1000 -o json", "list up to a thousand versions, for a script"),
    ],
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="List at most N versions."
)
@click.option("--author", metavar="NAME", help="List only versions that NAME published.")
@since_option
@common(forms=LIST_FORMS)
@pass_session
def history(session: Session, limit: int, author: str | None, since: str | None) -> None:
    """List the versions of a namespace, newest first."""
    entries = EntryFilter("created_at", parse_since(since, session.clock.now()), {"author": author})
    items = entries.read(session, "/api/v1/config/history", limit, namespace=session.namespace)
    session.screen.listing(items, _history_columns(items), f"No version of {session.namespace} is listed.")


def _history_columns(items: Sequence[JsonObject]) -> list[Column]:
    in_waves, emergencies = (any(name in each for each in items) for name in ("rollout", "break_glass"))

    def rollback_of(each: JsonObject) -> str | None:
        return f"of {each['rollback_of']}" if each.get("rollback_of") else None

    def wave(each: JsonObject) -> str | None:
        return f"{each['rollout']} {each.get('state', '')}" if "rollout" in each else None

    return [
        column("VERSION", "version"),
        column("EPOCH", "epoch", spare=3),
        column("PUBLISHED", "created_at", Kind.TIME),
        column("BY", "author"),
        column("POLL", lambda each: f"{each['poll_interval_seconds']} s", spare=4),
        column("ROLLBACK", rollback_of, spare=2),
        *([column("ROLLOUT", wave, spare=1)] if in_waves else []),
        *([column("BREAK-GLASS", lambda each: each.get("break_glass"), Kind.WORDS)] if emergencies else []),
        column("COMMENT", "comment", Kind.WORDS),
    ]


@click.command(
    "rollback",
    cls=Command,
    short_help="Publish an earlier version again.",
    examples=[
        ("confdctl rollback", "publish the document of the version before the current one; shows the diff and asks"),
        ("confdctl rollback 7", "publish the document of version 7"),
        (
            "confdctl rollback 7 -y -m 'errors at the edge' --wait applied",
            "publish without a question, and wait for the agents",
        ),
        ("confdctl rollback 7 --rollout canary", "deliver it to one agent first"),
    ],
)
@click.argument("version", type=VERSION, required=False, shell_complete=complete_version)
@publishing_options
@common()
@pass_session
def rollback(session: Session, /, version: int | None, options: PublishOptions) -> None:
    """
    Publish the document of VERSION as a new version, by default of the version that was current before the current one.
    The poll interval stays unchanged.
    """
    roll_back(session, version, options)


@click.command(
    "undo",
    cls=Command,
    short_help="Publish the version before the current one again.",
    examples=[("confdctl undo -m 'errors at the edge'", "take the last publish back; shows the diff and asks")],
)
@publishing_options
@common()
@pass_session
def undo(session: Session, /, options: PublishOptions) -> None:
    """
    Publish the document of the version that was current before the current one. This is confdctl rollback without a
    version. It needs no approval and passes freezes, unless the policy says otherwise.
    """
    roll_back(session, None, options)
