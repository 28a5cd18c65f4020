"""The progress of a rollout: draw its waves, follow it to its end, and name the agents that it exposed."""

from __future__ import annotations

from collections.abc import Sequence

from confd.cli.api_client import value_of
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session
from confd.cli.text import plural
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable

OUTCOMES = ("failed", "silent", "pending", "applied")

WAVE_COLUMNS = ("WAVE", "SIZE", "MEMBERS", *(each.upper() for each in OUTCOMES))

#: Why rollouts are aborted, in words.
_REASONS = {
    "check_failed": "a check failed",
    "failures": "too many members failed or fell silent",
    "requested": "a person asked for it",
    "stalled": "no member applied the version for too long",
}

#: Pause between two requests for the rollout.
_POLL_SECONDS = 0.5

#: How long to wait, without a time limit of the user, until the members have left the document of a rollout that ended.
_RECOVERY_SECONDS = 60.0

#: Exposed agents in the table of a rollout that was taken back.
_MAX_EXPOSED_ROWS = 20


def wave_size(wave: JsonObject) -> str:
    """Return the size of a wave for people, with its selector."""
    size = f"{wave['percent']} %" if "percent" in wave else str(wave.get("count", "all"))
    return f"{size} of {wave['select']}" if wave.get("select") else size


def wave_rows(rollout: JsonObject) -> list[list[object]]:
    """Return a row of L{WAVE_COLUMNS} for each wave; the waves that have not begun have dashes."""
    return [
        [str(wave["wave"]), wave_size(wave)]
        + ([wave[name] for name in ("members", *OUTCOMES)] if wave["wave"] <= rollout["wave"] else [None] * 5)
        for wave in rollout["waves"]
    ]


def is_open(rollout: JsonObject) -> bool:
    """Return whether a rollout has not ended."""
    return rollout["ended_at"] is None


def follow(session: Session, number: int, timeout: float | None) -> JsonObject:
    """
    Show a rollout until its end, and until its members have the version that took its place.

    @param timeout: time limit in seconds; C{None} for no limit before the end.
    @return: the rollout as it was seen last.
    @raise CommandError: the rollout cannot be read.
    """
    clock, path = session.clock, f"/api/v1/rollouts/{number}"
    deadline = None if timeout is None else clock.monotonic() + timeout
    seen: JsonObject = {"ended_at": None}
    try:
        with session.screen.live() as show:
            while True:
                pause = _POLL_SECONDS
                late = deadline is not None and clock.monotonic() >= deadline
                try:
                    # This loop waits by itself, for it may have a deadline.
                    seen = value_of(session.controller.call("GET", path, patient=False))
                except CommandError as failure:
                    # A controller that restarts in the meantime does not end the rollout.
                    if late or failure.status is not Exit.UNREACHABLE:
                        raise
                    pause = failure.pause(pause)
                else:
                    show(WAVE_COLUMNS, wave_rows(seen), printable(seen["next"]), _news(seen))
                    if late or (not is_open(seen) and _recovered(seen)):
                        return seen
                    if deadline is None and not is_open(seen):
                        deadline = clock.monotonic() + _RECOVERY_SECONDS
                clock.sleep(pause)
    except KeyboardInterrupt:
        if is_open(seen):
            session.closing_notes.append(
                f"Rollout {number} goes on. To follow it, run: confdctl rollout watch. To take it back, run:"
                " confdctl rollout abort"
            )
        raise


def _recovered(rollout: JsonObject) -> bool:
    """Return whether each member of an ended rollout has answered to the version that took its place."""
    if rollout["ended_as"] is None:
        return True
    recovery = rollout["recovery"]
    return recovery is not None and not recovery["pending"]


def _news(rollout: JsonObject) -> str:
    """Return the line of a rollout for a log, which changes with each transition."""
    state, title = rollout["state"], f"Rollout {rollout['id']}"
    if state == "running":
        last = len(rollout["waves"])
        return f"{title}: wave {rollout['wave']} of {last}, {plural(rollout['members'], 'member')} so far."
    if state == "finishing":
        return f"{title}: last wave, {plural(rollout['members'], 'member')}."
    if is_open(rollout):
        return f"{title}: {printable(rollout['next'])}"
    if _recovered(rollout):
        return f"{title} is {state}."
    return f"{title} is {state}; waiting until its members have version {rollout['ended_as']}."


def draw_end(session: Session, rollout: JsonObject, exposed: Sequence[JsonObject]) -> None:
    """
    Print the waves of a rollout; and the exposed agents, if it was taken back.

    @param exposed: see L{exposed_agents}.
    """
    screen = session.screen
    screen.line("")
    screen.table(WAVE_COLUMNS, wave_rows(rollout))
    screen.line("")
    if rollout["state"] == "completed":
        applied = sum(wave["applied"] for wave in rollout["waves"])
        counts = f"{applied} of {plural(rollout['members'], 'member')} applied version {rollout['candidate']}"
        screen.line(f"Rollout {rollout['id']} completed: {counts}.")
    elif not is_open(rollout):
        fields = ("id", "hostname", "wave", "outcome", "error")
        rows = [[each[name] for name in fields] for each in exposed[:_MAX_EXPOSED_ROWS]]
        screen.table(["EXPOSED", "HOSTNAME", "WAVE", "OUTCOME", "ERROR"], rows)
        if len(exposed) > _MAX_EXPOSED_ROWS:
            left = len(exposed) - _MAX_EXPOSED_ROWS
            screen.say(f"{left} more agents were exposed; confdctl rollout agents {rollout['id']} lists all of them.")


def exposed_agents(session: Session, number: int, outcome: str | None = None) -> list[JsonObject]:
    """Return the members of a rollout, failed members first."""
    path = f"/api/v1/rollouts/{number}/agents"
    found = session.controller.pages(path, None, cursor="after", outcome=outcome)
    return sorted(found, key=lambda each: OUTCOMES.index(each["outcome"]))


def require_completed(rollout: JsonObject) -> None:
    """
    Check how a rollout that was followed ended.

    @raise CommandError: it was taken back, or is still open.
    """
    title = f"Rollout {rollout['id']}"
    if rollout["state"] == "completed":
        return
    if is_open(rollout):
        hint = "To follow it, run: confdctl rollout watch"
        raise CommandError(Exit.NO_QUORUM, f"{title} is still open. {rollout['next']}", [hint])
    reason = _REASONS.get(rollout["reason"], rollout["reason"])
    why = f": {reason}" if reason else ""
    sentence = f"{title} was {rollout['state']} in wave {rollout['wave']}{why}. {recovery_words(rollout)}"
    raise CommandError(Exit.ROLLED_BACK, sentence)


def recovery_words(rollout: JsonObject) -> str:
    """Return a sentence on the version that took the place of the candidate."""
    version, recovery = rollout["ended_as"], rollout["recovery"]
    of_base = f", with the document of version {rollout['base']}" if rollout["state"] == "aborted" else ""
    if recovery is None:
        return f"All agents get version {version}{of_base}."
    counts = f"{recovery['applied']} of {plural(recovery['members'], 'exposed agent')} applied it"
    return f"All agents get version {version}{of_base}; {counts}."
