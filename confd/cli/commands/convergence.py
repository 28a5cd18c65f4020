"""What became of a version on the machines, as it is shown."""

from __future__ import annotations

from typing import Any

from confd.cli.api_client import value_of
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session
from confd.cli.text import shown_time

#: Seconds between two looks at how far a version came.
_POLL_SECONDS = 0.25


def follow(session: Session, version: int, quorum: float, timeout: float) -> tuple[bool, dict[str, Any]]:
    """
    Watch a version on its way to the agents.

    @param quorum: percent of them that is enough.
    @param timeout: seconds after which to give up.
    @return: whether they were enough, and the convergence that was seen last.
    @raise Failure: if that cannot be seen.
    """
    deadline = session.clock.monotonic() + timeout
    path = f"/api/v1/config/versions/{version}/convergence"
    with session.screen.bar(f"Version {version}") as grow:
        while True:
            pause = _POLL_SECONDS
            late = session.clock.monotonic() >= deadline
            try:
                # The waits are those of this loop, which has a deadline.
                asked = session.controller.call("GET", path, query={"namespace": session.namespace}, patient=False)
                seen = value_of(asked)
            except CommandError as failure:
                # It is published; a controller that restarts meanwhile is no reason to know less.
                if late or failure.status is not Exit.UNREACHABLE:
                    raise
                pause = min(failure.pause(pause), max(deadline - session.clock.monotonic(), _POLL_SECONDS))
            else:
                grow(seen["applied"], seen["targeted"], in_words(seen, "applied"))
                reached = seen["applied"] * 100 >= quorum * seen["targeted"]
                if reached or late:
                    return reached, seen
            session.clock.sleep(pause)


def in_words(convergence: dict[str, Any], *without: str) -> str:
    """How many agents are in which state, as far as there are any."""
    states = ("applied", "applying", "pending", "failed", "silent", "passed")
    found = [f"{convergence[state]} {state}" for state in states if convergence.get(state) and state not in without]
    return ", ".join(found)


def latencies(convergence: dict[str, Any]) -> str:
    """How long it took from the publish until it was applied."""
    return ", ".join(f"{name} {_duration(convergence[f'{name}_ms'])}" for name in ("p50", "p99", "max"))


def _duration(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:.0f} ms"


def draw_laggards(session: Session, convergence: dict[str, Any]) -> None:
    """Those that do not have it, if there are any."""
    rows = [
        [each["id"], each["hostname"], each["state"], each["version"], shown_time(each["last_seen"]), each["error"]]
        for each in convergence.get("laggards", ())
    ]
    if rows:
        session.screen.line("")
        session.screen.table(["LAGGARD", "HOSTNAME", "STATE", "VERSION", "LAST SEEN", "ERROR"], rows)
        left = sum(convergence.get(state) or 0 for state in ("failed", "applying", "silent", "pending")) - len(rows)
        if left > 0:
            session.screen.say(f"... and {left} more.")
