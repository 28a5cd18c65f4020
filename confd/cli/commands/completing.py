"""Values that only the controller knows, for the completion of a shell."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.shell_completion import CompletionItem

from confd.access.change_requests import PENDING
from confd.cli.errors import CommandError
from confd.cli.session import Session


def complete_plan(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of plans that begin as the user typed."""
    names = [each["name"] for each in _items(context, "/api/v1/plans")]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_freeze(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of freezes that begin as the user typed."""
    return [
        CompletionItem(str(each["id"]), help=each["reason"])
        for each in _items(context, "/api/v1/freezes")
        if str(each["id"]).startswith(incomplete)
    ]


def complete_change(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the numbers of changes that wait and begin as the user typed, newest first."""
    return [
        CompletionItem(str(each["id"]), help=f"{each['state']}: {each['comment']}")
        for each in _items(context, "/api/v1/changes", namespace=True)
        if str(each["id"]).startswith(incomplete) and each["state"] in PENDING
    ]


def complete_token(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of tokens that begin as the user typed, but those of revoked tokens."""
    return [
        CompletionItem(each["id"], help=each["name"])
        for each in _items(context, "/api/v1/tokens")
        if each["id"].startswith(incomplete) and each["revoked_at"] is None
    ]


def complete_rollout_plan(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the values of C{--rollout} that begin as the user typed."""
    special = [CompletionItem(name) for name in ("direct", "abort") if name.startswith(incomplete)]
    return complete_plan(context, parameter, incomplete) + special


def complete_rollout(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the numbers of rollouts that begin as the user typed, newest first."""
    return [
        CompletionItem(str(each["id"]), help=f"{each['state']}, version {each['candidate']}")
        for each in _items(context, "/api/v1/rollouts", namespace=True)
        if str(each["id"]).startswith(incomplete)
    ]


def _items(context: click.Context, path: str, namespace: bool = False) -> Iterator[dict[str, str]]:
    """Yield the items at a path; none where the controller does not answer in time."""
    session = context.find_object(Session)
    if session is None:
        return
    try:
        query = {"namespace": session.completing_controller.target.namespace} if namespace else {}
        yield from session.completing_controller.get(path, **query)["items"]
    except (CommandError, LookupError, TypeError):
        return
