"""The commands on the fleet: C{agents}, C{status}, C{watch}."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qs, quote, urlsplit

import click

from confd.cli.api_client import value_of
from confd.cli.command import Command, Group
from confd.cli.commands.completing import complete_agent, complete_version
from confd.cli.commands.convergence import draw_agents_behind, in_words, latencies
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.cli.text import format_time, plural
from confd.codec.labels import format_labels
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

STATES = ("silent", "applying", "applied", "failed")

#: First pause before a broken event stream is opened again; it doubles with each failure.
_FIRST_PAUSE_SECONDS = 1.0
#: Longest such pause.
_MAX_PAUSE_SECONDS = 30.0


@click.group("agents", cls=Group, short_help="List, show, label, forget or block agents.")
def agents() -> None:
    """
    Manage the registered agents. Without a subcommand: agents list, with its options.
    """


agents.default = "list"


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
@common()
@pass_session
def list_agents(session: Session, state: str | None, select: str, match: str | None, limit: int) -> None:
    """List agents, by id."""
    found, more = _agents(session, state, select, match or "", limit)
    rows = [
        [each["id"], each["hostname"], each["state"], each["applied_version"], each["strategy"],
         format_time(each["last_poll"]), each["metadata"], each["error"]]
        for each in found
    ]  # fmt: skip
    head = ["ID", "HOSTNAME", "STATE", "VERSION", "STRATEGY", "LAST POLL", "METADATA", "ERROR"]
    session.screen.show(found, lambda: session.screen.table(head, rows))
    for each in found:
        if each.get("duplicate"):
            session.screen.say(f"Two agents share the id {printable(each['id'])}; give one of them another CACHE_FILE.")
    if more:
        session.screen.say(f"More than {limit} agents match; raise --limit to see them.")


def _agents(session: Session, state: str | None, select: str, match: str, limit: int) -> tuple[list[JsonObject], bool]:
    found: list[JsonObject] = []
    query: dict[str, object] = {"namespace": session.namespace, "state": state, "select": select or None, "limit": 500}
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
    short_help="Show one agent and its latest reports.",
    examples=[("confdctl agents show 5f3c2a1e-...", "show state, version and reports")],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@common(namespace=False)
@pass_session
def show_agent(session: Session, agent_id: str) -> None:
    """Show the agent ID and its latest reports."""
    path, query = _address("agents", agent_id)
    found = value_of(session.controller.call("GET", path, query=query))
    reports = found.get("reports") or []

    def draw() -> None:
        facts = [(name, value) for name, value in found.items() if name != "reports"]
        session.screen.facts([(name, _flat(value)) for name, value in facts])
        session.screen.line("")
        rows = [[format_time(each["at"]), each["tag"], each["state"], each["error"]] for each in reports]
        session.screen.table(["REPORTED", "TAG", "STATE", "ERROR"], rows)

    session.screen.show(found, draw)


def _flat(value: object) -> object:
    """Return labels and ignored pieces in the form in which agents declare them; other values as they are."""
    if isinstance(value, dict):
        return format_labels(value)
    return ",".join(value) if isinstance(value, list) else value


@agents.command(
    "label",
    short_help="Set or remove labels of an agent.",
    examples=[
        ("confdctl agents label 5f3c2a1e-... stage=canary old-", "set the label stage, and remove the label old"),
        ("confdctl agents label 5f3c2a1e-... gpu=", "set a label with an empty value"),
    ],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@click.argument("changes", metavar="KEY=VALUE|KEY-...", nargs=-1, required=True)
@common(namespace=False)
@pass_session
def label_agent(session: Session, agent_id: str, changes: tuple[str, ...]) -> None:
    """
    Set labels of the agent ID, and remove the labels with a dash behind their key. A label that is set wins over the
    label that the agent declares in AGENT_METADATA.
    """
    path, query = _address("agents", agent_id)
    body = _label_changes(changes)
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
    examples=[("confdctl agents forget 5f3c2a1e-...", "asks first; a live agent registers again")],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@click.option("-y", "--yes", is_flag=True, help="Proceed without a question.")
@common(namespace=False)
@pass_session
def forget_agent(session: Session, agent_id: str, yes: bool) -> None:
    """Remove the agent ID from the controller. A live agent registers again by itself."""
    session.confirm(f"Forget the agent {agent_id}?", yes)
    _delete(session, "agents", agent_id)


@agents.command(
    "block",
    short_help="Remove an agent and refuse it from now on.",
    examples=[("confdctl agents block 5f3c2a1e-...", "for a stolen machine; change AGENT_PASSWORD, too")],
)
@click.argument("agent_id", metavar="ID", shell_complete=complete_agent)
@click.option("-y", "--yes", is_flag=True, help="Proceed without a question.")
@common(namespace=False)
@pass_session
def block_agent(session: Session, agent_id: str, yes: bool) -> None:
    """Remove the agent ID, and refuse it until it is unblocked."""
    session.confirm(f"Block the agent {agent_id}?", yes)
    _delete(session, "agents", agent_id, block="true")


@agents.command(
    "unblock",
    short_help="Allow a blocked agent again.",
    examples=[("confdctl agents unblock 5f3c2a1e-...", "it registers again by itself")],
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
@common(namespace=False)
@pass_session
def blocked_agents(session: Session) -> None:
    """List the ids of the agents that are blocked."""
    found = session.controller.get("/api/v1/blocked")["items"]
    session.screen.show(found, lambda: session.screen.table(["ID"], [[each] for each in found]))


def _address(what: str, agent_id: str) -> tuple[str, dict[str, object]]:
    """Return the path and the query that name an agent; a path cannot contain C{.} or C{..}."""
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
    short_help="Show the current version and the agents that applied it.",
    examples=[
        ("confdctl status", "show the current version and its convergence"),
        ("confdctl status --version 7", "show the convergence of version 7"),
        ("confdctl status --all", "name up to 100 agents that are behind, in place of 10"),
    ],
)
@click.option(
    "--version",
    type=click.IntRange(min=1),
    metavar="N",
    help="Show version N instead of the current one.",
    shell_complete=complete_version,
)
@click.option("--all", "all_known", is_flag=True, help="Name up to 100 agents that are behind, in place of 10.")
@common()
@pass_session
def status(session: Session, version: int | None, all_known: bool) -> None:
    """Show the cluster, a version and its convergence, and name the agents that are behind."""
    controller, scope = session.controller, {"namespace": session.namespace}
    cluster = controller.get("/api/v1/cluster")
    current = controller.get("/api/v1/config", **scope)["version"]
    asked = current if version is None else version
    convergence = controller.get(f"/api/v1/config/versions/{asked}/convergence", **scope)
    revision = controller.get(f"/api/v1/config/versions/{asked}", **scope)
    del revision["data"]

    def draw() -> None:
        counts = in_words(convergence)
        lines: list[tuple[str, object]] = [
            ("Cluster", f"{cluster['cluster_id']}, epoch {cluster['epoch']}"),
            ("Namespace", session.namespace),
            ("Version", f"{asked} ({revision['tag']})" + ("" if asked == current else f"; {current} is current")),
            ("Published", f"{format_time(revision['updated_at'])} by {revision['author']}"),
            ("Comment", revision["comment"] or None),
            ("Poll", f"every {revision['poll_interval_seconds']} s"),
            ("Agents", f"{convergence['targeted']}: {counts}" if counts else "none"),
            ("Propagation", latencies(convergence)),
        ]  # fmt: skip
        rollout = convergence.get("rollout")
        if rollout:
            members = plural(rollout["members"], "member")
            said = f"{rollout['id']} delivers version {rollout['candidate']} to {members}, which are not counted here"
            lines.insert(-2, ("Rollout", said))
        session.screen.facts(lines)
        draw_agents_behind(session, convergence, all_known)

    session.screen.show({"cluster": cluster, "version": revision, "convergence": convergence}, draw)


@click.command(
    "watch",
    cls=Command,
    short_help="Print changes of versions, agents, convergence and rollouts as they happen.",
    examples=[
        ("confdctl watch", "print all events until Ctrl-C"),
        ("confdctl watch -o json --only config", "print one line of JSON for each publish"),
    ],
)
@click.option(
    "--only", type=click.Choice(["config", "agents", "convergence", "rollout"]), help="Print only events of this kind."
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="Stop after N events.  [default: run until Ctrl-C]"
)
@common()
@pass_session
def watch(session: Session, only: str | None, count: int | None) -> None:
    """Print the events of a namespace as they happen. A broken connection is opened again."""
    pause, seen = _FIRST_PAUSE_SECONDS, 0
    while True:
        try:
            for name, value in session.controller.events(namespace=session.namespace):
                pause = _FIRST_PAUSE_SECONDS
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
        session.screen.say(f"{printable(broken)} Reconnecting in {pause:.3g} s.")
        session.clock.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)


def _event_words(session: Session, name: str, value: JsonObject) -> str:
    at = f"{session.clock.now():%H:%M:%S}  {printable(name):<11}  "
    if name == "config":
        said = f": {value['comment']}" if value.get("comment") else ""
        return f"{at}{printable(value['tag'])} by {printable(value['author'])}{printable(said)}"
    if name == "convergence":
        counts = in_words(value) or "no reports yet"
        return f"{at}version {value['version']} on {plural(value['targeted'], 'agent')}: {counts}; {latencies(value)}"
    if name == "rollout":
        return f"{at}{value['id']}, wave {value['wave']} of {len(value['waves'])}: {printable(value['next'])}"
    if name == "agents":
        lines = [
            f"{at}{printable(each['hostname'] or each['id'])} {printable(each['state'] or 'pending')}"
            + (f" {each['applied_version']}" if each.get("applied_version") else "")
            + (f": {printable(each['error'])}" if each.get("error") else "")
            for each in value["agents"]
        ]
        return "\n".join(lines + [f"{at}... and more"] * bool(value.get("more")))
    return f"{at}{printable(value)}"
