"""The commands on single agents: C{agents list}, C{show}, C{label}, C{forget}, C{block} and C{unblock}."""

from __future__ import annotations

from collections.abc import Iterable

import click

from confd.cli.api_client import value_of
from confd.cli.command import Group
from confd.cli.commands.agent_facts import address, draw_agent, find_agent, name_of, read_agents
from confd.cli.commands.completing import complete_agent
from confd.cli.errors import CommandError, Exit
from confd.cli.forms import LIST_FORMS
from confd.cli.listing import Column, Kind, column
from confd.cli.options import yes_option
from confd.cli.session import Session, common, pass_session
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

STATES = ("silent", "pending", "applying", "applied", "failed")


@click.group("agents", cls=Group, short_help="List, show, label, forget or block agents.")
def agents() -> None:
    """
    Manage the registered agents. Without a subcommand: agents list, with its options.
    """


agents.default = "list"


_COLUMNS = [
    column("ID", "id", Kind.ID),
    column("HOSTNAME", "hostname"),
    column("STATE", lambda each: each["state"] or "pending"),
    column("VERSION", "applied_version"),
    column("STRATEGY", "strategy", spare=3),
    column("LAST POLL", "last_poll", Kind.TIME, spare=1),
    column("METADATA", "metadata", Kind.WORDS, spare=2),
    column("ERROR", "error", Kind.WORDS),
]


@agents.command(
    "list",
    short_help="List agents.",
    examples=[
        ("confdctl agents", "list all agents of the namespace"),
        (
            "confdctl agents --state failed --match eu-west",
            "list failed agents with this text in id, hostname or metadata",
        ),
        ("confdctl agents -l 'region in (us,eu),!gpu'", "list agents in two regions that have no label gpu"),
    ],
)
@click.option("--state", type=click.Choice(STATES), help="List only agents in this state.")
@click.option(
    "-l",
    "--select",
    metavar="SELECTOR",
    default="",
    help="List only agents whose labels match SELECTOR, in the grammar of Kubernetes.",
)
@click.option("--match", metavar="TEXT", help="List only agents with TEXT in id, hostname or metadata.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=500, show_default=True, metavar="N", help="List at most N agents."
)
@common(forms=LIST_FORMS)
@pass_session
def list_agents(session: Session, state: str | None, select: str, match: str | None, limit: int) -> None:
    """List agents, by id."""
    found, more = read_agents(session, state, select, match or "", limit)
    chosen = "" if not (state or select or match) else " with these properties"
    session.screen.listing(found, _COLUMNS, f"{session.namespace} has no agent{chosen}.")
    for each in found:
        if each.get("duplicate"):
            session.screen.say(f"Two agents share the id {printable(each['id'])}; give one of them another CACHE_FILE.")
    if more:
        session.screen.say(f"More than {limit} agents match; raise --limit to see them.")


@agents.command(
    "show",
    short_help="Show one agent and its latest reports.",
    examples=[
        ("confdctl agents show 5f3c2a1e", "show state, version and reports"),
        ("confdctl agents show web-17", "name it by its hostname"),
    ],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@common()
@pass_session
def show_agent(session: Session, agent_id: str) -> None:
    """
    Show the agent ID and its latest reports. The beginning of an ID suffices, and so does a hostname that only one
    agent of the namespace has.
    """
    found = find_agent(session, agent_id)
    session.screen.show(found, lambda: draw_agent(session, found))


@agents.command(
    "label",
    short_help="Set or remove labels of an agent.",
    examples=[
        ("confdctl agents label 5f3c2a1e stage=canary old-", "set the label stage, and remove the label old"),
        ("confdctl agents label 5f3c2a1e gpu=", "set a label with an empty value"),
    ],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@click.argument("changes", metavar="KEY=VALUE|KEY-...", nargs=-1, required=True)
@common()
@pass_session
def label_agent(session: Session, agent_id: str, changes: tuple[str, ...]) -> None:
    """
    Set labels of the agent ID, and remove the labels with a dash behind their key. A label that is set wins over the
    label that the agent declares in AGENT_METADATA.
    """
    body = _label_changes(changes)
    path, query = address("agents", find_agent(session, agent_id)["id"])
    found = value_of(session.controller.call("POST", f"{path}/labels", body, query=query))
    session.screen.show(found, lambda: session.screen.facts(list(found["labels"].items())))


def _label_changes(words: Iterable[str]) -> JsonObject:
    changes: JsonObject = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals and not word.endswith("-"):
            raise click.UsageError(f"{word!r} is neither KEY=VALUE nor KEY-.")
        if not equals:
            key = word[:-1]
        if key in changes:
            raise click.UsageError(f"The label {key!r} is named twice.")
        changes[key] = value if equals else None
    return changes


@agents.command(
    "forget",
    short_help="Remove an agent that no longer exists.",
    examples=[("confdctl agents forget 5f3c2a1e", "asks first; a live agent registers again")],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@yes_option()
@common()
@pass_session
def forget_agent(session: Session, agent_id: str, yes: bool) -> None:
    """Remove the agent ID from the controller. A live agent registers again by itself."""
    found = find_agent(session, agent_id)
    session.confirm(f"Forget the agent {name_of(found)}?", yes)
    _delete(session, "agents", found["id"])


@agents.command(
    "reset",
    short_help="Let an agent register again that lost its token.",
    examples=[("confdctl agents reset 5f3c2a1e", "refuse its token; its next registration gets another one")],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@yes_option()
@common()
@pass_session
def reset_agent(session: Session, agent_id: str, yes: bool) -> None:
    """
    Remove the token of the agent ID, so that its next registration with the shared password gets a new one. Without a
    reset, it gets one once no process used the token for 3 poll intervals.
    """
    found = find_agent(session, agent_id)
    session.confirm(f"Reset the token of the agent {name_of(found)}?", yes)
    path, named = address("agents", found["id"])
    answer = value_of(session.controller.call("POST", f"{path}/reset", query=named))
    session.screen.show(answer, lambda: session.screen.line(printable(answer["message"])))


@agents.command(
    "block",
    short_help="Remove an agent and refuse it from now on.",
    examples=[("confdctl agents block 5f3c2a1e", "for a stolen machine; change AGENT_PASSWORD, too")],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@yes_option()
@common()
@pass_session
def block_agent(session: Session, agent_id: str, yes: bool) -> None:
    """Remove the agent ID, and refuse it until it is unblocked."""
    try:
        found = find_agent(session, agent_id)
    except CommandError as failure:
        if failure.status is not Exit.NOT_FOUND:
            raise
        found = {"id": agent_id}
    session.confirm(f"Block the agent {name_of(found)}?", yes)
    _delete(session, "agents", found["id"], block="true")


@agents.command(
    "unblock",
    short_help="Allow a blocked agent again.",
    examples=[("confdctl agents unblock 5f3c2a1e", "it registers again by itself")],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@common(namespace=False)
@pass_session
def unblock_agent(session: Session, agent_id: str) -> None:
    """Allow the blocked agent ID again. It registers by itself."""
    _delete(session, "blocked", agent_id)


@agents.command(
    "blocked",
    short_help="List the blocked agents.",
    examples=[("confdctl agents blocked", "list their ids; confdctl audit shows who blocked them")],
)
@common(namespace=False, forms=LIST_FORMS)
@pass_session
def list_blocked_agents(session: Session) -> None:
    """List the ids of the agents that are blocked."""
    found = session.controller.get("/api/v1/blocked")["items"]
    session.screen.listing(found, [Column("ID", str)], "No agent is blocked.")


def _delete(session: Session, what: str, agent_id: str, **query: object) -> None:
    path, named = address(what, agent_id)
    answer = value_of(session.controller.call("DELETE", path, query=named | query))
    session.screen.show(answer, lambda: session.screen.line(printable(answer["message"])))
