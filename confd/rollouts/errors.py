"""The errors of rollouts."""

from __future__ import annotations

from confd.errors import Conflict, NotFound


def no_eligible_agent() -> Conflict:
    """Return the error for a wave without an agent that can carry it."""
    return Conflict(
        "no_eligible_agent",
        "No live agent that reports matches the selectors of the plan; publish with rollout=direct, or change the"
        " plan.",
    )


def unknown_rollout(rollout: int) -> NotFound:
    """Return the error for a rollout that does not exist."""
    return NotFound("unknown_rollout", f"Rollout {rollout} does not exist; list the rollouts.")


def unknown_plan(name: str) -> NotFound:
    """Return the error for a plan that does not exist."""
    return NotFound("unknown_plan", f"The plan {name[:63]!r} does not exist; list the plans, or save it first.")


def rollout_active(namespace: str, rollout: int) -> Conflict:
    """Return the error for a change that an open rollout forbids."""
    return Conflict(
        "rollout_active",
        f"Rollout {rollout} of the namespace {namespace!r} is open; wait for its end, abort it, or publish with"
        " rollout=abort.",
    )
