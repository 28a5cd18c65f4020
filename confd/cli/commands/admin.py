"""What operators do now and then: C{namespaces}, C{audit}, C{epoch}, C{cluster}."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from confd.audit import AuditEntry, verify
from confd.cli.api_client import value_of
from confd.cli.command import Group
from confd.cli.commands.documents import change, load, sources
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.cli.text import shown_time
from confd.codec.text import printable

_YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
_COMMENT = click.option("-m", "--comment", metavar="TEXT", help="Why, for the history.")


@click.group("namespaces", cls=Group, default="list", short_help="Namespaces: list, create, retire.")
def namespaces() -> None:
    """
    Namespaces, each of which has a document of its own. Without a command: namespaces list.
    """


@namespaces.command("list", short_help="All of them.", examples=[("confdctl namespaces", "with version and agents")])
@common(namespace=False)
@pass_session
def list_namespaces(session: Session) -> None:
    """List the namespaces, with the version in force and the agents of each."""
    found = session.controller.get("/api/v1/namespaces")
    rows = [
        [each["name"], each["version"], shown_time(each["updated_at"]), each["agents"], each["live_agents"]]
        for each in found
    ]
    session.screen.show(found, lambda: session.screen.table(["NAME", "VERSION", "PUBLISHED", "AGENTS", "ALIVE"], rows))


@namespaces.command(
    "create",
    short_help="Make one.",
    examples=[
        ("confdctl namespaces create edge config.json", "with the document in a file"),
        ("confdctl namespaces create edge url=https://example.com", "with a document typed here"),
    ],
)
@click.argument("name")
@click.argument("source", nargs=-1, required=True, metavar="[FILE|-] [KEY=VALUE]...")
@_COMMENT
@common(namespace=False)
@pass_session
def create_namespace(session: Session, name: str, source: tuple[str, ...], comment: str | None) -> None:
    """Make the namespace NAME; its first version is the document in FILE (- for standard input), or of KEY=VALUE."""
    file, assignments = sources(source)
    document = change({} if file is None else load(file, sys.stdin.buffer), assignments, ())
    body = {"name": name, "config": document} | ({"comment": comment} if comment else {})
    made = value_of(session.controller.call("POST", "/api/v1/namespaces", body))
    session.screen.show(
        made, lambda: session.screen.line(f"Namespace {printable(made['name'])} is made, at version {made['version']}.")
    )


@namespaces.command(
    "retire",
    short_help="Take one out of use.",
    examples=[("confdctl namespaces retire edge", "asks first; refused while agents of it live")],
)
@click.argument("name")
@_YES
@common(namespace=False)
@pass_session
def retire_namespace(session: Session, name: str, yes: bool) -> None:
    """Take the namespace NAME out of use; not while agents of it live."""
    session.confirm(f"Retire the namespace {name}?", yes)
    answer = value_of(session.controller.call("DELETE", f"/api/v1/namespaces/{quote(name, safe='')}"))
    session.screen.show(answer, lambda: session.screen.line(f"{printable(answer['message'])}."))


@click.group("audit", cls=Group, default="list", short_help="Who tried to change what: list, verify.")
def audit() -> None:
    """
    All attempts to change anything, with what became of them. Without a command: audit list, with its options.
    """


@audit.command(
    "list",
    short_help="The last attempts.",
    examples=[("confdctl audit --limit 200", "the last 200 attempts")],
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="How many at most."
)
@common(namespace=False)
@pass_session
def list_audit(session: Session, limit: int) -> None:
    """List attempts to change anything, newest first."""
    items = list(session.controller.pages("/api/v1/audit", limit))
    keys = ("number", "who", "peer", "action", "target", "outcome", "detail")
    rows = [[each["number"], shown_time(each["at"]), *(each[key] for key in keys[1:])] for each in items]
    head = ["NUMBER", "AT", "WHO", "FROM", "WHAT", "OF", "OUTCOME", "DETAIL"]
    session.screen.show(items, lambda: session.screen.table(head, rows))


@audit.command(
    "verify",
    short_help="Prove that nothing in it was changed.",
    examples=[
        ("confdctl audit verify", "prints what to note, somewhere else"),
        ("confdctl audit verify --noted 512:9f2c...", "and that what was noted then is still there"),
    ],
)
@click.option("--noted", metavar="NUMBER:HASH", help="What an earlier verify told you to note.")
@common(namespace=False)
@pass_session
def verify_audit(session: Session, noted: str | None) -> None:
    """
    Follow the chain of hashes through all entries.

    Whoever can write to the controller's database can make the whole chain anew. Note what this prints in a place that
    they cannot reach, and give it with --noted the next time.
    """
    found = verify(map(_entry, session.controller.pages("/api/v1/audit", None)), _noted(noted))
    newest = None if found.newest is None else f"{found.newest.number}:{found.newest.hash}"
    result = {"sound": found.wrong is None, "entries": found.count, "note": newest, "reason": found.reason or None}
    if found.wrong is None or session.screen.form != "table":
        session.screen.show(
            result,
            lambda: session.screen.line(f"All {found.count} entries are sound. To note: {newest or 'nothing yet'}"),
        )
    if found.wrong is not None:
        raise CommandError(
            Exit.UNSOUND, f"{found.reason} Keep the database as it is, and find out who could write to it."
        )


def _entry(item: Mapping[str, Any]) -> AuditEntry:
    try:
        return AuditEntry(**item)
    except TypeError:
        raise CommandError(
            Exit.FAILED, "The controller tells entries that this confdctl does not know; update it."
        ) from None


def _noted(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    number, _, hashed = text.partition(":")
    if not (number.isascii() and number.isdecimal() and hashed):
        raise CommandError(Exit.USAGE, "--noted: give what audit verify printed, a number, a colon and a hash.")
    return int(number), hashed


@click.group("epoch", cls=Group, default="show", short_help="The epoch: show, or raise it after a restore.")
def epoch() -> None:
    """
    The epoch. After the controller's database was restored from a backup, raise it: agents that are ahead of the backup
    follow again. Without a command: epoch show.
    """


def _cluster(session: Session) -> None:
    found = session.controller.get("/api/v1/cluster")

    def draw() -> None:
        session.screen.facts([("Cluster", found["cluster_id"]), ("Epoch", found["epoch"])])
        ahead = found["ahead"]
        if ahead["agents"]:
            session.screen.line(
                f"{ahead['agents']} agents are ahead, up to epoch {ahead['epoch']}. If the database was restored, "
                "they follow again after: confdctl epoch raise"
            )
        for each in found["foreign"]:
            session.screen.line(
                f"{each['agents']} agents stay with another cluster, of epoch {each['epoch']}. If this controller "
                f"takes its place, they follow after: confdctl cluster adopt {printable(each['cluster_id'])}"
            )

    session.screen.show(found, draw)


@epoch.command("show", short_help="What it is.", examples=[("confdctl epoch", "and whether agents are ahead of it")])
@common(namespace=False)
@pass_session
def show_epoch(session: Session) -> None:
    """Show the epoch, and whether any agents are ahead of it."""
    _cluster(session)


@epoch.command(
    "raise",
    short_help="Go ahead of all agents, after a restore.",
    examples=[
        ("confdctl epoch raise -m 'restored from the backup of Monday'", "to one more than any that is known"),
        ("confdctl epoch raise --to 5", "to 5"),
    ],
)
@click.option(
    "--to", type=click.IntRange(min=1), metavar="N", help="The new epoch.  [default: one more than any that is known]"
)
@_COMMENT
@_YES
@common(namespace=False)
@pass_session
def raise_epoch(session: Session, to: int | None, comment: str | None, yes: bool) -> None:
    """Raise the epoch. Each namespace gets a new version with the document that it has; all agents apply it."""
    session.confirm("Raise the epoch, and make all agents follow what this controller has?", yes)
    _renew(session, "/api/v1/epoch/raise", {"epoch": to, "comment": comment})


@click.group("cluster", cls=Group, default="show", short_help="The cluster: show, adopt another's identity, new key.")
def cluster() -> None:
    """
    The identity of the controller's database. Agents stay with the one that they met first. Without a command: cluster
    show.
    """


@cluster.command("show", short_help="What it is.", examples=[("confdctl cluster", "and whom agents belong to instead")])
@common(namespace=False)
@pass_session
def show_cluster(session: Session) -> None:
    """Show the cluster, and whether agents belong to another one."""
    _cluster(session)


@cluster.command(
    "adopt",
    short_help="Take the place of one that is lost.",
    examples=[("confdctl cluster adopt 3f2a...", "the agents of that cluster follow this controller")],
)
@click.argument("cluster_id", metavar="UUID", type=click.UUID)
@click.option(
    "--epoch", type=click.IntRange(min=1), metavar="N", help="The epoch.  [default: one more than any that is known]"
)
@_COMMENT
@_YES
@common(namespace=False)
@pass_session
def adopt_cluster(session: Session, cluster_id: object, epoch: int | None, comment: str | None, yes: bool) -> None:
    """
    Take the identity of the cluster UUID, whose database is lost: its agents then follow this controller. Never while
    that cluster still has a controller.
    """
    session.confirm(f"Take the place of the cluster {cluster_id}, and make its agents follow this controller?", yes)
    _renew(session, "/api/v1/cluster/adopt", {"cluster_id": str(cluster_id), "epoch": epoch, "comment": comment})


@cluster.command(
    "rotate-key",
    short_help="Sign announcements with a new key.",
    examples=[("confdctl cluster rotate-key", "where somebody may have read the database, or a copy of it")],
)
@_YES
@common(namespace=False)
@pass_session
def rotate_key(session: Session, yes: bool) -> None:
    """
    Sign announcements with a new key from now on. Agents learn it by themselves; the one before it stays good until the
    next time.
    """
    session.confirm("Sign announcements with a new key?", yes)
    made = value_of(session.controller.call("POST", "/api/v1/signing-key/rotate"))
    session.screen.show(
        made, lambda: session.screen.line(f"{printable(made['message'])}: {printable(made['signing_key'])}")
    )


def _renew(session: Session, path: str, body: Mapping[str, object]) -> None:
    answer = session.controller.call("POST", path, {name: value for name, value in body.items() if value is not None})
    made = value_of(answer)

    def draw() -> None:
        session.screen.line(f"{printable(made['message'])}: cluster {made['cluster_id']}, epoch {made['epoch']}.")
        rows = [[each["name"], each["version"], each["epoch"]] for each in made["namespaces"]]
        session.screen.table(["NAMESPACE", "VERSION", "EPOCH"], rows)

    session.screen.show(made, draw)
