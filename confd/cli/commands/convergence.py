"""The convergence of a version: wait for a quorum, and print the states of the agents."""

from __future__ import annotations

from confd.cli.api_client import value_of
from confd.cli.errors import CommandError, Exit
from confd.cli.listing import Column, Kind, column
from confd.cli.session import Session
from confd.cli.text import plural
from confd.codec.strict_json import JsonObject
from confd.controller.convergence.progress import Totals

#: Pause between two requests for the convergence.
_POLL_SECONDS = 0.25


def wait_for_quorum(
    session: Session, namespace: str, version: int, quorum: float, timeout: float
) -> tuple[bool | None, JsonObject]:
    """
    Wait until enough agents have applied a version, or until the quorum cannot be reached any more.

    @param quorum: percent of the agents.
    @param timeout: time limit in seconds.
    @return: whether the quorum was reached, C{None} at the time limit; and the last convergence.
    @raise CommandError: the convergence cannot be read.
    """
    deadline = session.clock.monotonic() + timeout
    path = f"/api/v1/config/versions/{version}/convergence"
    with session.screen.bar(f"Version {version} of {namespace}") as grow:
        while True:
            pause = _POLL_SECONDS
            late = session.clock.monotonic() >= deadline
            try:
                # This loop waits by itself, for it has a deadline.
                asked = session.controller.call("GET", path, query={"namespace": namespace}, patient=False)
                seen = value_of(asked)
            except CommandError as failure:
                # A controller that restarts in the meantime does not end the wait.
                if late or failure.status is not Exit.UNREACHABLE:
                    raise
                pause = min(failure.pause(pause), max(deadline - session.clock.monotonic(), _POLL_SECONDS))
            else:
                grow(seen["applied"], seen["targeted"], in_words(seen, "applied"))
                totals = Totals(**{name: seen[name] for name in ("targeted", "applied", "failed", "applying")})
                reached = totals.reached(quorum)
                if late or reached is not None:
                    return reached, seen
            session.clock.sleep(pause)


def in_words(convergence: JsonObject, *without: str) -> str:
    """Return the number of agents in each state that has any."""
    states = ("applied", "applying", "pending", "failed", "silent", "passed")
    found = [f"{convergence[state]} {state}" for state in states if convergence.get(state) and state not in without]
    return ", ".join(found)


def latencies(convergence: JsonObject) -> str:
    """Return the times from the publish until the agents applied it."""
    names = (("median", "p50_ms"), ("p99", "p99_ms"), ("slowest", "max_ms"))
    return ", ".join(f"{name} {_duration(convergence[key])}" for name, key in names)


def _duration(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:.0f} ms"


#: Agents that are behind and that a screen has room for, below the summary.
_SCREEN_ROWS = 10


_BEHIND: list[str | Column] = [
    column("BEHIND", "", Kind.ID),
    column("HOSTNAME", ""),
    column("STATE", ""),
    column("VERSION", ""),
    column("LAST SEEN", "", Kind.TIME, spare=1),
    "ERROR",
]


def draw_agents_behind(session: Session, convergence: JsonObject, all_known: bool) -> None:
    """
    Print the agents that have not applied the version, if any.

    @param all_known: whether to print all agents of the answer, or only as many as a screen has room for.
    """
    rows = [
        [each["id"], each["hostname"], each["state"], each["version"], each["last_seen"], each["error"]]
        for each in convergence.get("laggards", ())
    ]
    known = len(rows)
    if not all_known:
        del rows[_SCREEN_ROWS:]
    if rows:
        session.screen.line("")
        session.screen.table(_BEHIND, rows)
        behind = sum(convergence.get(state) or 0 for state in ("failed", "applying", "silent", "pending"))
        if behind > len(rows):
            left = "--all names more of them" if len(rows) < known else "confdctl agents lists all agents"
            session.screen.say(f"{behind} of {plural(convergence['targeted'], 'agent')} are behind; {left}.")
