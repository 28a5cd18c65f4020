"""The fleet: C{agents}, C{status}, C{watch}."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import click

from confd.cli.api_client import value_of
from confd.cli.command import Command, Group
from confd.cli.commands.convergence import draw_laggards, in_words, latencies
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.cli.text import counted, shown_time
from confd.codec.text import printable

STATES = ("silent", "applying", "applied", "failed")

#: Seconds before a broken stream of events is asked for again, and that at most, doubled each time.
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


@click.group("agents", cls=Group, default="list", short_help="The agents: list, show, forget, block.")
def agents() -> None:
    """
    The agents that the controller knows. Without a command: agents list, with its options.
    """


@agents.command(
    "list",
    short_help="All of them, or some.",
    examples=[
        ("confdctl agents", "all of them"),
        ("confdctl agents --state failed --match eu-west", "those that refused, and have that in name or metadata"),
    ],
)
@click.option("--state", type=click.Choice(STATES), help="Only agents in this state.")
@click.option("--match", metavar="TEXT", help="Only agents with this in id, hostname or metadata.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=500, show_default=True, metavar="N", help="How many at most."
)
@common()
@pass_session
def list_agents(session: Session, state: str | None, match: str | None, limit: int) -> None:
    """List agents, by id."""
    found, more = _agents(session, state, match or "", limit)
    rows = [
        [each["id"], each["hostname"], each["state"], each["applied_version"], each["strategy"],
         shown_time(each["last_poll"]), each["metadata"], each["error"]]
        for each in found
    ]  # fmt: skip
    head = ["ID", "HOSTNAME", "STATE", "VERSION", "STRATEGY", "LAST POLL", "METADATA", "ERROR"]
    session.screen.show(found, lambda: session.screen.table(head, rows))
    for each in found:
        if each.get("duplicate"):
            session.screen.say(f"Two agents share the id {printable(each['id'])}: give one of them a new CACHE_FILE.")
    if more:
        session.screen.say(f"There are more than {limit}; --limit shows more of them.")


def _agents(session: Session, state: str | None, match: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
    found: list[dict[str, Any]] = []
    query: dict[str, object] = {"namespace": session.namespace, "state": state, "limit": 500}
    while True:
        answer = session.controller.call("GET", "/api/v1/agents", query=query)
        for each in value_of(answer):
            if any(match in (each[key] or "") for key in ("id", "hostname", "metadata")):
                if len(found) == limit:
                    return found, True
                found.append(each)
        link, _, kind = answer.headers.get("link", "").partition(">")
        if 'rel="next"' not in kind:
            return found, False
        query["after"] = parse_qs(urlsplit(link.strip(" <")).query)["after"][0]


@agents.command(
    "show",
    short_help="One agent, with its last reports.",
    examples=[("confdctl agents show 5f3c2a1e-...", "what it has, what it said")],
)
@click.argument("agent_id", metavar="ID")
@common(namespace=False)
@pass_session
def show_agent(session: Session, agent_id: str) -> None:
    """Show what is known of the agent with that ID."""
    path, query = _address("agents", agent_id)
    found = value_of(session.controller.call("GET", path, query=query))
    reports = found.get("reports") or []

    def draw() -> None:
        session.screen.facts([(name, value) for name, value in found.items() if name != "reports"])
        session.screen.line("")
        rows = [[shown_time(each["at"]), each["tag"], each["state"], each["error"]] for each in reports]
        session.screen.table(["REPORTED", "TAG", "STATE", "ERROR"], rows)

    session.screen.show(found, draw)


@agents.command(
    "forget",
    short_help="Remove one that is no more.",
    examples=[("confdctl agents forget 5f3c2a1e-...", "asks first; one that still lives comes back")],
)
@click.argument("agent_id", metavar="ID")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common(namespace=False)
@pass_session
def forget_agent(session: Session, agent_id: str, yes: bool) -> None:
    """Remove the agent with that ID from the controller's books; one that still lives registers again."""
    session.confirm(f"Forget the agent {agent_id}?", yes)
    _delete(session, "agents", agent_id)


@agents.command(
    "block",
    short_help="Remove one and keep it out.",
    examples=[("confdctl agents block 5f3c2a1e-...", "a stolen machine, say: change AGENT_PASSWORD, too")],
)
@click.argument("agent_id", metavar="ID")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common(namespace=False)
@pass_session
def block_agent(session: Session, agent_id: str, yes: bool) -> None:
    """Forget the agent with that ID, and refuse it from now on, until it is unblocked."""
    session.confirm(f"Keep the agent {agent_id} out?", yes)
    _delete(session, "agents", agent_id, block="true")


@agents.command(
    "unblock",
    short_help="Let one in again.",
    examples=[("confdctl agents unblock 5f3c2a1e-...", "it registers again by itself")],
)
@click.argument("agent_id", metavar="ID")
@common(namespace=False)
@pass_session
def unblock_agent(session: Session, agent_id: str) -> None:
    """Let the agent with that ID in again that was blocked."""
    _delete(session, "blocked", agent_id)


@agents.command(
    "blocked",
    short_help="Those that are kept out.",
    examples=[("confdctl agents blocked", "their ids; confdctl audit has who blocked them")],
)
@common(namespace=False)
@pass_session
def blocked_agents(session: Session) -> None:
    """List the ids of the agents that are blocked."""
    found = session.controller.get("/api/v1/blocked")["items"]
    session.screen.show(found, lambda: session.screen.table(["ID"], [[each] for each in found]))


def _address(what: str, agent_id: str) -> tuple[str, dict[str, object]]:
    """Return the path and the query that name an agent: no path can carry C{.} and C{..}."""
    if agent_id in (".", ".."):
        return f"/api/v1/{what}/-", {"id": agent_id}
    return f"/api/v1/{what}/{quote(agent_id, safe='')}", {}


def _delete(session: Session, what: str, agent_id: str, **query: object) -> None:
    path, named = _address(what, agent_id)
    answer = value_of(session.controller.call("DELETE", path, query=named | query))
    session.screen.show(answer, lambda: session.screen.line(printable(answer["message"])))


@click.command(
    "status",
    cls=Command,
    short_help="What is in force, and who has it.",
    examples=[
        ("confdctl status", "the version in force and how far it came"),
        ("confdctl status --version 7", "how far version 7 came"),
    ],
)
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="Version N instead of the one in force.")
@common()
@pass_session
def status(session: Session, version: int | None) -> None:
    """Show the cluster, a version, and what became of it on the agents; those that do not have it are named."""
    controller, scope = session.controller, {"namespace": session.namespace}
    cluster = controller.get("/api/v1/cluster")
    in_force = controller.get("/api/v1/config", **scope)["version"]
    asked = in_force if version is None else version
    convergence = controller.get(f"/api/v1/config/versions/{asked}/convergence", **scope)
    revision = controller.get(f"/api/v1/config/versions/{asked}", **scope)
    del revision["data"]

    def draw() -> None:
        counts = in_words(convergence)
        lines: list[tuple[str, object]] = [
            ("Cluster", f"{cluster['cluster_id']}, epoch {cluster['epoch']}"),
            ("Namespace", session.namespace),
            ("Version", f"{asked} ({revision['tag']})" + ("" if asked == in_force else f"; {in_force} is in force")),
            ("Published", f"{shown_time(revision['updated_at'])} by {revision['author']}"),
            ("Comment", revision["comment"] or None),
            ("Poll", f"every {revision['poll_interval_seconds']} s"),
            ("Agents", f"{convergence['targeted']}: {counts}" if counts else "none"),
            ("To applied", latencies(convergence)),
        ]  # fmt: skip
        session.screen.facts(lines)
        draw_laggards(session, convergence)

    session.screen.show({"cluster": cluster, "version": revision, "convergence": convergence}, draw)


@click.command(
    "watch",
    cls=Command,
    short_help="Versions, agents and convergence as they change.",
    examples=[
        ("confdctl watch", "until Ctrl-C"),
        ("confdctl watch -o json --only config", "one line of JSON a publish"),
    ],
)
@click.option("--only", type=click.Choice(["config", "agents", "convergence"]), help="Only events of this kind.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.  [default: at Ctrl-C]")
@common()
@pass_session
def watch(session: Session, only: str | None, count: int | None) -> None:
    """Print what happens in a namespace, as it happens. A connection that breaks is made again."""
    pause, seen = _PAUSE, 0
    while True:
        try:
            for name, value in session.controller.events(namespace=session.namespace):
                pause = _PAUSE
                if name == "heartbeat" or only not in (None, name):
                    continue
                session.screen.event({"event": name, "data": value}, _event_words(session, name, value))
                seen += 1
                if seen == count:
                    return
            broken = "The controller ended the stream."
        except CommandError as failure:
            if failure.status is not Exit.UNREACHABLE:
                raise
            broken = failure.sentence
            pause = failure.pause(pause)
        session.screen.say(f"{printable(broken)} Asking again in {pause:.3g} s.")
        session.clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _event_words(session: Session, name: str, value: dict[str, Any]) -> str:
    at = f"{session.clock.now():%H:%M:%S}  {printable(name):<11}  "
    if name == "config":
        said = f": {value['comment']}" if value.get("comment") else ""
        return f"{at}{printable(value['tag'])} by {printable(value['author'])}{printable(said)}"
    if name == "convergence":
        counts = in_words(value) or "nothing yet"
        return f"{at}version {value['version']} on {counted(value['targeted'], 'agent')}: {counts}; {latencies(value)}"
    if name == "agents":
        lines = [
            f"{at}{printable(each['hostname'] or each['id'])} {printable(each['state'] or 'known')}"
            + (f" {each['applied_version']}" if each.get("applied_version") else "")
            + (f": {printable(each['error'])}" if each.get("error") else "")
            for each in value["agents"]
        ]
        return "\n".join(lines + [f"{at}... and more"] * bool(value.get("more")))
    return f"{at}{printable(value)}"
