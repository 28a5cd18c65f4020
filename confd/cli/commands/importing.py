"""The command C{import}, which continues the history of the Go system."""

from __future__ import annotations

import click

from confd.cli.api_client import value_of
from confd.cli.command import Command
from confd.cli.go_database import GoVersion, read_go_database
from confd.cli.session import Session, common, pass_session
from confd.cli.text import plural
from confd.codec.text import printable


@click.command(
    "import",
    cls=Command,
    short_help="Import document and history of the Go system.",
    examples=[
        ("confdctl import --from go-database old/controller.db", "import before the first publish; asks first"),
        ("confdctl import --from go-database old/controller.db --force -y", "import although versions were published"),
    ],
)
@click.option(
    "--from",
    "kind",
    type=click.Choice(["go-database"]),
    required=True,
    help="Type of FILE: the database of the Go system.",
)
@click.argument("file", type=click.Path())
@click.option("--force", is_flag=True, help="Import although the namespace has published versions.")
@click.option("-m", "--comment", metavar="TEXT", help="Reason for the change, for the history.")
@click.option("-y", "--yes", is_flag=True, help="Proceed without a question.")
@common()
@pass_session
def import_(session: Session, kind: str, file: str, force: bool, comment: str | None, yes: bool) -> None:
    """
    Import the document, poll interval and history in FILE. The file is not changed.

    Stop the Go controller first. The current version keeps its number, so that agents of the Go system accept the next
    publish.
    """
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
    query = {"namespace": session.namespace, "force": "true" if force else None}
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
