"""The command C{import}: documents from dumps of other programs, and the history of the Go system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from attrs import evolve

from confd.cli.api_client import tag_of, value_of
from confd.cli.archives import read_archive
from confd.cli.command import Command
from confd.cli.commands.exporting import write_documents
from confd.cli.commands.publish import ChangePublisher, PublishOptions, break_glass_option, break_glass_query
from confd.cli.commands.submissions import Submission
from confd.cli.dumps import DumpedDocument, ReadOptions, read_dump, read_flat
from confd.cli.errors import CommandError, Exit
from confd.cli.go_database import GoVersion, read_go_database
from confd.cli.key_tree import inferred
from confd.cli.options import yes_option
from confd.cli.session import Session, common, pass_session
from confd.cli.text import plural
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

_KINDS = ("consul", "etcd", "apollo", "nacos", "go-database", "properties", "env", "yaml", "toml", "json")


@click.command(
    "import",
    cls=Command,
    short_help="Import documents of Consul, etcd, Apollo, Nacos, the Go system, or files.",
    examples=[
        ("consul kv export app/ > dump.json", "dump the keys below app/ of Consul"),
        ("confdctl import --from consul dump.json --prefix app/ --infer", "publish them as one document; asks first"),
        ("confdctl import --from apollo apollo.zip --to config", "write a file for each namespace, for confdctl apply"),
        ("confdctl import --from go-database old/controller.db", "continue the history of the Go system; asks first"),
    ],
)
@click.option("--from", "kind", type=click.Choice(_KINDS), required=True, help="Type of FILE.")
@click.argument("file", type=click.Path())
@click.option("--prefix", default="", metavar="TEXT", help="Only the keys that begin with TEXT, which they lose.")
@click.option("--nest", is_flag=True, help="Nest the keys of properties and env at their dots.")
@click.option("--infer", is_flag=True, help="Turn texts that are JSON numbers, booleans, objects or arrays into these.")
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write NAMESPACE.json into DIR; publish nothing.",
)
@click.option("--dry-run", is_flag=True, help="Validate and show the diff; publish nothing.")
@click.option("--force", is_flag=True, help="Overwrite files; import a history although versions were published.")
@click.option("-m", "--comment", metavar="TEXT", help="Reason for the change, for the history.")
@yes_option()
@break_glass_option
@common()
@pass_session
def import_(
    session: Session,
    kind: str,
    file: str,
    prefix: str,
    nest: bool,
    infer: bool,
    folder: Path | None,
    dry_run: bool,
    force: bool,
    comment: str | None,
    yes: bool,
    break_glass: str | None,
) -> None:
    """
    Import the documents in FILE, a dump: the command asks no other server. The file is not changed.

    A dump of Consul or etcd becomes one document, in which the path of a key is nested objects. An export of Apollo or
    Nacos has a document for each namespace or data id; with --prefix, only members of that path count. Values stay
    texts without --infer.

    The database of the Go system brings its poll interval and history, too. Stop the Go controller first. The current
    version keeps its number, so that agents of the Go system accept the next publish.
    """
    if kind == "go-database":
        if folder is not None or prefix or nest or infer or dry_run:
            raise CommandError(
                Exit.USAGE, "--to, --prefix, --nest, --infer and --dry-run are not for go-database; leave them out."
            )
        _import_history(session, file, force, comment, yes, break_glass)
        return
    documents = _read(session, kind, file, ReadOptions(prefix, nest), infer)
    if folder is not None:
        if break_glass is not None:
            raise CommandError(Exit.USAGE, "--break-glass has no effect with --to, which publishes nothing.")
        named = [(each.namespace or session.namespace, each.value) for each in documents]
        for path in write_documents(folder, named, force):
            session.screen.line(printable(path))
        return
    document = _only(documents, file)
    options = PublishOptions(
        yes, dry_run, comment or f"imported from {kind}", None, None, None, None, force, break_glass=break_glass
    )
    publisher = ChangePublisher(session, options)
    tag = tag_of(session.controller.call("GET", "/api/v1/config", query={"namespace": session.namespace}))
    publisher.publish(Submission("/api/v1/config", document, tag, {"comment": options.comment}))


def _read(session: Session, kind: str, file: str, options: ReadOptions, infer: bool) -> Sequence[DumpedDocument]:
    """Return the documents of a dump, and print what was left out."""
    raw, name = read_dump(file), printable(file)
    if kind in ("apollo", "nacos"):
        documents = read_archive(kind, raw, name, options)
    else:
        documents = [read_flat(kind, raw, name, options)]
    for each in documents:
        for note in each.notes:
            session.screen.say(note)
    if not infer:
        return documents
    changed = [(each, inferred(each.value) if each.texts else (each.value, 0)) for each in documents]
    session.screen.say(f"{plural(sum(count for _, (_, count) in changed), 'value')} inferred from texts.")
    return [evolve(each, value=value) for each, (value, _) in changed]


def _only(documents: Sequence[DumpedDocument], file: str) -> JsonObject:
    """
    Return the document of a dump.

    @raise CommandError: the dump has several.
    """
    if len(documents) > 1:
        names = ", ".join(str(each.namespace) for each in documents[:5])
        raise CommandError(
            Exit.USAGE,
            f"{printable(file)} holds {len(documents)} namespaces, such as {names}; write them with --to DIR, then run"
            " confdctl apply -f DIR --create.",
        )
    return documents[0].value


def _import_history(
    session: Session, file: str, force: bool, comment: str | None, yes: bool, break_glass: str | None
) -> None:
    session.require_consent(yes)
    found = read_go_database(file)
    current = found.current
    interval = "no poll interval" if found.poll_interval is None else f"a poll interval of {found.poll_interval} s"
    session.screen.say(
        f"{printable(file)} holds version {current.version}, {interval} and {plural(len(found.past), 'older version')}."
    )
    session.confirm(f"Import this into the namespace {session.namespace}?", yes)
    body = {
        "versions": [_body(each) for each in (*found.past, current)],
        "poll_interval_seconds": found.poll_interval,
        "comment": comment or f"imported from the Go system, version {current.version}",
    }
    query = {"namespace": session.namespace, "force": "true" if force else None, **break_glass_query(break_glass)}
    made = value_of(session.controller.call("POST", "/api/v1/config/import", body, query=query))
    session.screen.show(
        made,
        lambda: session.screen.line(
            f"Version {made['version']} of {session.namespace} is current; the next publish is {made['version'] + 1}."
        ),
    )


def _body(version: GoVersion) -> dict[str, object]:
    time = {"created_at": version.created_at} if version.created_at else {}
    return {"version": version.version, "config": version.config, **time}
