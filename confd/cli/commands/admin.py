"""The commands for administration: C{namespaces} and C{audit}."""

from __future__ import annotations

from typing import BinaryIO
from urllib.parse import quote

import click

from confd.audit import AuditEntry, verify
from confd.cli.api_client import value_of
from confd.cli.audit_export import AuditExport
from confd.cli.command import Group
from confd.cli.commands.completing import complete_file, complete_namespace
from confd.cli.commands.documents import about_document, changed_by_words, read_argument, sources
from confd.cli.commands.events_since import EntryFilter
from confd.cli.commands.publish import break_glass_option, break_glass_query
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import LIST_FORMS
from confd.cli.listing import Kind, column
from confd.cli.options import comment_option, parse_since, since_option, yes_option
from confd.cli.session import Session, common, pass_session
from confd.cli.text import plural
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable


@click.group("namespaces", cls=Group, short_help="List, create or retire namespaces.")
def namespaces() -> None:
    """
    Manage namespaces; each has its own document. Without a subcommand: namespaces list.
    """


namespaces.default = "list"


@namespaces.command(
    "list", short_help="List the namespaces.", examples=[("confdctl namespaces", "list them with version and agents")]
)
@common(namespace=False, forms=LIST_FORMS)
@pass_session
def list_namespaces(session: Session) -> None:
    """List the namespaces with their current version and number of agents."""
    found = session.controller.get("/api/v1/namespaces")
    columns = [
        column("NAME", "name"),
        column("VERSION", "version"),
        column("PUBLISHED", "updated_at", Kind.TIME),
        column("AGENTS", "agents"),
        column("LIVE", "live_agents"),
    ]
    session.screen.listing(found, columns, "No namespace may be read with these credentials.")


@namespaces.command(
    "create",
    short_help="Create a namespace.",
    examples=[
        ("confdctl namespaces create edge config.json", "create it with the document in a file"),
        ("confdctl namespaces create edge url=https://example.com", "create it with a document of one key"),
    ],
)
@click.argument("name")
@click.argument("source", nargs=-1, required=True, metavar="[FILE|-] [KEY=VALUE]...", shell_complete=complete_file)
@comment_option
@break_glass_option
@common(namespace=False)
@pass_session
def create_namespace(
    session: Session, name: str, source: tuple[str, ...], comment: str | None, break_glass: str | None
) -> None:
    """Create the namespace NAME. Its first document comes from FILE (- reads standard input) or from KEY=VALUE."""
    file, assignments = sources(source)
    document = changed_by_words(session, {} if file is None else read_argument(session, file), assignments)
    body = {"name": name, "config": document} | ({"comment": comment} if comment else {})
    query = break_glass_query(break_glass)
    try:
        made = value_of(session.controller.call("POST", "/api/v1/namespaces", body, query=query))
    except CommandError as failure:
        raise about_document(failure) from None
    session.screen.show(
        made,
        lambda: session.screen.line(f"Namespace {printable(made['name'])} is created, at version {made['version']}."),
    )


@namespaces.command(
    "retire",
    short_help="Retire a namespace.",
    examples=[("confdctl namespaces retire edge", "asks first; refused while the namespace has live agents")],
)
@click.argument("name", shell_complete=complete_namespace)
@yes_option()
@common(namespace=False)
@pass_session
def retire_namespace(session: Session, name: str, yes: bool) -> None:
    """Retire the namespace NAME. The controller refuses this while the namespace has live agents."""
    found = {each["name"]: each for each in session.controller.get("/api/v1/namespaces")}
    if name not in found:
        known = ", ".join(printable(each) for each in found)
        raise CommandError(Exit.NOT_FOUND, f"The namespace {printable(name)} does not exist; these do: {known}.")
    known_agents = plural(found[name]["agents"], "agent")
    session.confirm(f"Retire the namespace {name}, with version {found[name]['version']} and {known_agents}?", yes)
    answer = value_of(session.controller.call("DELETE", f"/api/v1/namespaces/{quote(name, safe='')}"))
    session.screen.show(answer, lambda: session.screen.line(f"{printable(answer['message'])}."))


@click.group("audit", cls=Group, short_help="List or verify the audit log.")
def audit() -> None:
    """
    Read the audit log, which records each attempt at a change and its result. Without a subcommand: audit list, with
    its options.
    """


audit.default = "list"


@audit.command(
    "list",
    short_help="List the latest attempts.",
    examples=[
        ("confdctl audit --limit 200", "list the latest 200 attempts"),
        ("confdctl audit --who ci --since 24h", "list what ci tried since yesterday"),
    ],
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="List at most N attempts."
)
@click.option("--who", metavar="NAME", help="List only attempts of NAME.")
@since_option
@common(namespace=False, forms=LIST_FORMS)
@pass_session
def list_audit(session: Session, limit: int, who: str | None, since: str | None) -> None:
    """List the recorded attempts, newest first."""
    entries = EntryFilter("at", parse_since(since, session.clock.now()), {"who": who})
    items = entries.read(session, "/api/v1/audit", limit)
    columns = [
        column("NUMBER", "number", spare=3),
        column("AT", "at", Kind.TIME),
        column("WHO", "who"),
        column("FROM", "peer", spare=4),
        column("ACTION", "action"),
        column("TARGET", "target", spare=1),
        column("RESULT", "outcome"),
        column("DETAIL", "detail", Kind.WORDS, spare=2),
    ]
    session.screen.listing(items, columns, "The audit log is empty.")


@audit.command(
    "verify",
    short_help="Verify that no entry was changed.",
    examples=[
        ("confdctl audit verify", "verify the log; prints a checkpoint to keep elsewhere"),
        ("confdctl audit verify --noted 512:9f2c...", "verify it against an earlier checkpoint"),
        ("confdctl audit verify --against audit.jsonl", "verify it against the entries that were exported to Kafka"),
    ],
)
@click.option("--noted", metavar="NUMBER:HASH", help="Checkpoint that an earlier audit verify printed.")
@click.option(
    "--against",
    type=click.File("rb"),
    metavar="FILE",
    help="Exported entries, one a line, such as a consumer of KAFKA_AUDIT_TOPIC prints; - reads standard input.",
)
@common(namespace=False)
@pass_session
def verify_audit(session: Session, noted: str | None, against: BinaryIO | None) -> None:
    """
    Verify the hash chain of all entries, and print a checkpoint.

    A person who can write to the database of the controller can replace the whole chain. Keep the checkpoint where such
    a person has no access, and pass it with --noted the next time. An export proves each of its entries: --against
    finds the first entry that the controller has lost or changed since.
    """
    checkpoint = _noted(noted)
    export = None if against is None else AuditExport.read(against, against.name)
    entries = map(_entry, session.controller.pages("/api/v1/audit", None))
    found = verify(entries if export is None else export.watch(entries), checkpoint)
    reason = found.reason or (export and export.finding()) or None
    newest = None if found.newest is None else f"{found.newest.number}:{found.newest.hash}"
    result: JsonObject = {"sound": reason is None, "entries": found.count, "note": newest, "reason": reason}
    covered = ""
    if export is not None:
        first, last = export.range
        result["export"] = {"first": first, "last": last}
        covered = f" The export covers {first} to {last}."
    if reason is None or not session.screen.form.for_people:
        session.screen.show(
            result,
            lambda: session.screen.line(f"Verified {found.count} entries.{covered} Checkpoint: {newest or 'none'}"),
        )
    if reason is not None:
        raise CommandError(Exit.UNSOUND, f"{reason} Keep a copy of the database, and find out who can write to it.")


def _entry(item: JsonObject) -> AuditEntry:
    try:
        return AuditEntry(**item)
    except TypeError:
        raise CommandError(
            Exit.FAILED, "The controller sends audit entries that this confdctl does not know; update confdctl."
        ) from None


def _noted(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    number, _, hashed = text.partition(":")
    if not (number.isascii() and number.isdecimal() and hashed):
        raise CommandError(Exit.USAGE, "--noted: write the checkpoint of audit verify, as in 512:9f2c.")
    return int(number), hashed
