"""C{import}: go on with the history of another system."""

from __future__ import annotations

import click

from confd.cli.api_client import value_of
from confd.cli.command import Command
from confd.cli.go_database import GoVersion, read_go_database
from confd.cli.session import Session, common, pass_session
from confd.cli.text import counted
from confd.codec.text import printable


@click.command(
    "import",
    cls=Command,
    short_help="Go on where the Go system stopped.",
    examples=[
        ("confdctl import --from go-database old/controller.db", "before the first publish; asks first"),
        ("confdctl import --from go-database old/controller.db --force -y", "although something was published"),
    ],
)
@click.option(
    "--from", "kind", type=click.Choice(["go-database"]), required=True, help="What FILE is: the Go system's database."
)
@click.argument("file", type=click.Path())
@click.option("--force", is_flag=True, help="Import although something was published in the namespace.")
@click.option("-m", "--comment", metavar="TEXT", help="Why, for the history.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common()
@pass_session
def import_(session: Session, kind: str, file: str, force: bool, comment: str | None, yes: bool) -> None:
    """
    Take document, poll interval and history from FILE, which is only read.

    The current version keeps its number, so that agents of the Go system take the next publish. Stop the Go controller
    first.
    """
    session.check_somebody(yes)
    found = read_go_database(file)
    current = found.current
    interval = "no poll interval" if found.poll_interval is None else f"a poll interval of {found.poll_interval} s"
    session.screen.say(
        f"{printable(file)} holds version {current.version}, {interval} and"
        f" {counted(len(found.past), 'older version')}."
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
