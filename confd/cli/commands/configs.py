"""Documents and their versions: C{get}, C{set}, C{history}, C{diff}, C{rollback}."""

from __future__ import annotations

import sys
from typing import Any

import click

from confd.cli.api_client import value_of
from confd.cli.command import Command
from confd.cli.commands.documents import change, find, load, sources
from confd.cli.commands.editor import edit
from confd.cli.commands.publish import PublishOptions, PublishResult, Submission, publishing_options
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.cli.text import as_json, shown_time
from confd.model import POLL_INTERVAL_MAX, POLL_INTERVAL_MIN

VERSION = click.IntRange(min=1)


@click.command(
    "get",
    cls=Command,
    short_help="The document in force, or one part of it.",
    examples=[
        ("confdctl get", "what is in force, as JSON"),
        ("confdctl get url", "one value; texts come without quotes"),
        ("confdctl get -n edge --version 7 -o yaml", "what version 7 of another namespace was"),
        ("confdctl get --meta", "with its tag, checksum and poll interval"),
    ],
)
@click.argument("key", required=False)
@click.option("--version", type=VERSION, metavar="N", help="Version N instead of the one in force.")
@click.option("--meta", is_flag=True, help="All that the controller says about it.")
@common()
@pass_session
def get(session: Session, key: str | None, version: int | None, meta: bool) -> None:
    """
    Print the document in force, or only what is at KEY in it. A KEY has dots between its parts, and goes into arrays by
    number: limits.rate, servers.0.
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
    short_help="Publish a document: from a file, key by key, or with your editor.",
    examples=[
        ("confdctl set config.json", "publish a file; shows the difference and asks first"),
        ("confdctl set url=https://example.com limits.rate=10", "change two keys of what is in force"),
        ("confdctl set --edit -m 'new upstream'", "edit what is in force"),
        ("render | confdctl set - --yes --wait applied --quorum 95", "from a script, and wait for the fleet"),
        ("confdctl set config.json --dry-run", "see what would change"),
    ],
)
@click.argument("source", nargs=-1, metavar="[FILE|-] [KEY=VALUE]...")
@click.option("--unset", multiple=True, metavar="KEY", help="Take a key out; may be repeated.")
@click.option("-e", "--edit", "in_editor", is_flag=True, help="In $VISUAL, $EDITOR, or vi.")
@click.option(
    "--poll-interval",
    type=click.IntRange(POLL_INTERVAL_MIN, POLL_INTERVAL_MAX),
    metavar="SECONDS",
    help="Between two polls of an agent.  [default: as it is]",
)
@publishing_options
@common()
@pass_session
def set_(
    session: Session,
    /,
    source: tuple[str, ...],
    unset: tuple[str, ...],
    in_editor: bool,
    poll_interval: int | None,
    **publish_options: Any,
) -> None:
    """
    Publish a new version: the document in FILE (- for standard input), or the one in force; with some keys set, if you
    name any; after you edited it, if you ask for that.

    A VALUE is JSON where it can be, and else a text. A KEY has dots between its parts, and goes into arrays by number:
    servers.0.url=https://example.com.

    The difference is shown and you are asked, unless you say --yes. If somebody else published meanwhile, nothing is
    changed and you are told.
    """
    wished = PublishOptions(**publish_options)
    publication = PublishResult(session, wished)
    file, assignments = sources(source)
    if not (file or assignments or unset or in_editor or poll_interval):
        raise CommandError(Exit.USAGE, "Give a FILE, KEY=VALUE, --unset or --edit; see confdctl set --help.")
    # Before anybody is asked for a password: what comes from a pipe is there only once.
    given = None if file is None else load(file, sys.stdin.buffer)
    answer = session.controller.call("GET", "/api/v1/config", query={"namespace": session.namespace})
    tag = answer.headers.get("etag", "").strip('"')
    wanted = change(value_of(answer)["data"] if given is None else given, assignments, unset)
    query = {"comment": wished.comment, "poll_interval": poll_interval}

    def send(document: dict[str, Any]) -> bool:
        asked = Submission("/api/v1/config", document, tag, query, always=poll_interval is not None)
        return publication.publish(asked)

    if in_editor:
        edit(session, wanted, send)
    else:
        send(wanted)
    publication.finish()


@click.command(
    "history",
    cls=Command,
    short_help="Who published what, and why.",
    examples=[
        ("confdctl history", "the last versions"),
        ("confdctl history --limit 1000 -o json", "a thousand of them, for a script"),
    ],
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many at most."
)
@common()
@pass_session
def history(session: Session, limit: int) -> None:
    """List the versions of a namespace, newest first."""
    items = list(session.controller.pages("/api/v1/config/history", limit, namespace=session.namespace))
    rows = [
        [
            each["version"],
            each["epoch"],
            shown_time(each["created_at"]),
            each["author"],
            f"{each['poll_interval_seconds']} s",
            f"of {each['rollback_of']}" if each.get("rollback_of") else None,
            each["comment"],
        ]
        for each in items
    ]
    head = ["VERSION", "EPOCH", "PUBLISHED", "BY", "POLL", "ROLLBACK", "COMMENT"]
    session.screen.show(items, lambda: session.screen.table(head, rows))


@click.command(
    "diff",
    cls=Command,
    short_help="What changed between two versions.",
    examples=[
        ("confdctl diff", "what the last publish changed"),
        ("confdctl diff 3", "from version 3 to what is in force"),
        ("confdctl diff 3 5 -o json", "between two versions, as a patch too (RFC 6902)"),
    ],
)
@click.argument("from_", type=VERSION, required=False, metavar="[FROM]")
@click.argument("to", type=VERSION, required=False)
@common()
@pass_session
def diff(session: Session, from_: int | None, to: int | None) -> None:
    """Compare version FROM with version TO, or with what is in force."""
    if from_ is None:
        to = session.controller.get("/api/v1/config", namespace=session.namespace)["version"]
        from_ = to - 1
        if not from_:
            raise CommandError(Exit.NOT_FOUND, f"Version 1 of {session.namespace} is the first; nothing was before it.")
    query = {"namespace": session.namespace, "from": from_, "to": to}
    found = session.controller.get("/api/v1/config/diff", **query)

    def draw() -> None:
        session.screen.diff(found["text"])
        if not found["patch"]:
            session.screen.say(f"Versions {found['from']} and {found['to']} are the same document.")

    session.screen.show(found, draw)


@click.command(
    "rollback",
    cls=Command,
    short_help="Publish an old version again.",
    examples=[
        ("confdctl rollback 7", "publish what version 7 was, as a new version; asks first"),
        ("confdctl rollback 7 -y -m 'errors at the edge' --wait applied", "at once, and wait for the fleet"),
    ],
)
@click.argument("version", type=VERSION)
@publishing_options
@common()
@pass_session
def rollback(session: Session, /, version: int, **publish_options: Any) -> None:
    """Publish the document of VERSION again, as a new version; the poll interval stays as it is."""
    wished = PublishOptions(**publish_options)
    publication = PublishResult(session, wished)
    answer = session.controller.call("GET", "/api/v1/config", query={"namespace": session.namespace})
    body = {"version": version} | ({"comment": wished.comment} if wished.comment else {})
    asked = Submission("/api/v1/config/rollback", body, answer.headers.get("etag", "").strip('"'))
    publication.publish(asked)
    publication.finish()
