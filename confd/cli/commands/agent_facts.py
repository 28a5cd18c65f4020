"""Find the agent that a word of the command line names, and print its facts."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

from confd.cli.api_client import value_of
from confd.cli.errors import CommandError, Exit
from confd.cli.listing import Column, Kind, column
from confd.cli.session import Session
from confd.cli.text import format_time
from confd.codec.labels import format_labels
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

#: Names of the facts of an agent, in the order in which they are printed.
_NAMES = {
    "id": "Agent",
    "hostname": "Hostname",
    "namespace": "Namespace",
    "state": "State",
    "applied_version": "Version",
    "error": "Error",
    "strategy": "Strategy",
    "registered_at": "Registered",
    "last_poll": "Last poll",
    "reported_at": "Last report",
    "repairs": "Repairs",
    "metadata": "Metadata",
    "labels": "Labels",
    "labels_declared": "  declared",
    "labels_set": "  set",
    "labels_ignored": "  ignored",
}
_TIMES = ("registered_at", "last_poll", "reported_at")
#: Facts that are part of others.
_JOINED = ("applied_tag", "verified", "duplicate", "reports")


def find_agent(session: Session, word: str) -> JsonObject:
    """
    Return the agent with an id, with the beginning of an id, or with a hostname in the namespace.

    @raise CommandError: no agent, or more than one, is named so.
    """
    path, query = address("agents", word)
    try:
        found: JsonObject = value_of(session.controller.call("GET", path, query=query))
        return found
    except CommandError as failure:
        if failure.status is not Exit.NOT_FOUND or _UUID.fullmatch(word):
            raise
        unknown = failure
    scope = {"namespace": session.namespace}
    # Ids that begin with the word follow it in the order of the list.
    near = session.controller.get("/api/v1/agents", after=word, limit=2, **scope)
    alike = [each for each in near if each["id"].startswith(word)]
    if not alike:
        alike = [each for each in read_agents(session, None, "", word, 2**31)[0] if each["hostname"] == word]
    if not alike:
        raise CommandError(
            unknown.status,
            f"No agent of {session.namespace} has the id or the hostname {printable(word)}; confdctl agents lists all.",
        )
    if len(alike) > 1:
        names = [name_of(each) for each in alike]
        raise CommandError(Exit.USAGE, f"More than one agent is named {printable(word)}; write more of the id.", names)
    path, query = address("agents", alike[0]["id"])
    found = value_of(session.controller.call("GET", path, query=query))
    return found


def read_agents(
    session: Session, state: str | None, select: str, match: str, limit: int
) -> tuple[list[JsonObject], bool]:
    """
    Return agents of the namespace, and whether more of them match.

    @param state: only agents in this state; the API has no state for C{pending}.
    @param select: only agents whose labels match this selector.
    @param match: only agents with this text in id, hostname or metadata.
    """
    found: list[JsonObject] = []
    query: dict[str, object] = {
        "namespace": session.namespace,
        "state": None if state == "pending" else state,
        "select": select or None,
        "limit": 500,
    }
    while True:
        answer = session.controller.call("GET", "/api/v1/agents", query=query)
        for each in value_of(answer):
            if state == "pending" and each["state"] is not None:
                continue
            if any(match in (each[key] or "") for key in ("id", "hostname", "metadata")):
                if len(found) == limit:
                    return found, True
                found.append(each)
        link, _, kind = answer.headers.get("link", "").partition(">")
        if 'rel="next"' not in kind:
            return found, False
        query["after"] = parse_qs(urlsplit(link.strip(" <")).query)["after"][0]


def address(what: str, agent_id: str) -> tuple[str, dict[str, object]]:
    """Return the path and the query that name an agent; a path cannot contain C{.} or C{..}."""
    if agent_id in (".", ".."):
        return f"/api/v1/{what}/-", {"id": agent_id}
    return f"/api/v1/{what}/{quote(agent_id, safe='')}", {}


def name_of(agent: JsonObject) -> str:
    """Return the id and the hostname of an agent, for questions and errors."""
    return printable(f"{agent['id']} ({agent['hostname']})" if agent.get("hostname") else agent["id"])


def draw_agent(session: Session, agent: JsonObject) -> None:
    """Print an agent and its latest reports."""
    # A newer controller may know more facts than this release.
    others = [name for name in agent if name not in _NAMES and name not in _JOINED]
    names = _NAMES | {name: name.replace("_", " ").capitalize() for name in others}
    facts = [(title, _in_words(agent, name)) for name, title in names.items()]
    session.screen.facts([(title, value) for title, value in facts if value not in (None, "")])
    if agent.get("duplicate"):
        session.screen.say("Two agents share this id; give one of them another CACHE_FILE.")
    reports = agent.get("reports") or []
    if reports:
        session.screen.line("")
        rows = [[each["at"], each["tag"], each["state"], each["error"]] for each in reports]
        head: list[str | Column] = [column("REPORTED", "", Kind.TIME), column("TAG", ""), "STATE", "ERROR"]
        session.screen.table(head, rows)


def _in_words(agent: JsonObject, name: str) -> object:
    """Return a fact of an agent for people; C{None} without a value."""
    value = agent.get(name)
    if name == "state":
        return f"{value or 'pending'}{', verified' if agent.get('verified') else ''}"
    if name == "applied_version" and value is not None:
        return f"{value} ({agent['applied_tag']})"
    if name in _TIMES:
        return format_time(value)
    if isinstance(value, dict):
        return format_labels(value)
    return ",".join(value) if isinstance(value, list) else value
