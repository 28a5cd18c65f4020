"""Values that only the controller knows, for the completion of a shell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from threading import Thread

import click
from click.shell_completion import CompletionItem

from confd.access.change_requests import PENDING
from confd.cli.errors import CommandError
from confd.cli.profile import config_file, profiles
from confd.cli.session import COMPLETION_SECONDS, Session
from confd.codec.strict_json import JsonObject, JsonValue

#: Agents of one answer.
_PAGE = 500

#: Keys of a document that are offered.
_MAX_KEYS = 500


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


def complete_namespace(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of namespaces that begin as the user typed."""
    names = [each["name"] for each in _answer(context, "/api/v1/namespaces", namespace=False) or ()]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_version(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the newest versions that begin as the user typed."""
    return [
        CompletionItem(str(each["version"]), help=each["comment"] or None)
        for each in _items(context, "/api/v1/config/history", namespace=True)
        if str(each["version"]).startswith(incomplete)
    ]


def complete_agent(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return ids and hostnames of agents that begin as the user typed."""
    found = _answer(context, "/api/v1/agents", namespace=True, limit=_PAGE) or []
    if incomplete and len(found) == _PAGE:
        # The agents are in the order of their ids.
        found += _answer(context, "/api/v1/agents", namespace=True, limit=_PAGE, after=incomplete) or []
    names = {each["id"]: each["hostname"] for each in found if each["id"].startswith(incomplete)}
    if incomplete:
        names |= {each["hostname"]: each["id"] for each in found if each["hostname"].startswith(incomplete)}
    return [CompletionItem(name, help=other) for name, other in names.items()]


def complete_key(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return keys of the current document that begin as the user typed."""
    found = _answer(context, "/api/v1/config", namespace=True)
    keys = _keys(found["data"]) if isinstance(found, dict) else ()
    return [CompletionItem(key) for key in islice(keys, _MAX_KEYS) if key.startswith(incomplete)]


def complete_source(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the assignments of keys that begin as the user typed, and let the shell complete files."""
    if "=" in incomplete:
        return []
    keys = [CompletionItem(f"{each.value}=") for each in complete_key(context, parameter, incomplete)]
    return [*keys, CompletionItem(incomplete, type="file")]


def complete_file(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete files."""
    return [CompletionItem(incomplete, type="file")]


def complete_profile(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of profiles that begin as the user typed."""
    session = context.find_object(Session)
    if session is None:
        return []
    try:
        found = profiles(config_file(session.environ))
    except CommandError:
        return []
    return [CompletionItem(name, help=found[name].get("url")) for name in found if name.startswith(incomplete)]


def _keys(document: JsonObject, above: str = "") -> Iterator[str]:
    """Yield the dotted keys of a document, except items of arrays."""
    for name, value in document.items():
        key = above + name.replace(".", "\\.")
        yield key
        if isinstance(value, dict):
            yield from _keys(value, f"{key}.")


def _items(context: click.Context, path: str, namespace: bool = False) -> Iterator[dict[str, str]]:
    """Yield the items at a path; none where the controller does not answer in time."""
    found = _answer(context, path, namespace)
    yield from found.get("items", ()) if isinstance(found, dict) else ()


def _answer(context: click.Context, path: str, namespace: bool, **query: object) -> JsonValue:
    """Return the JSON at a path; C{None} where the controller does not answer in time."""
    session = context.find_object(Session)
    if session is None:
        return None
    answers: list[JsonValue] = []

    def ask() -> None:
        with suppress(CommandError, LookupError, TypeError, AttributeError):
            here = {"namespace": session.completing_controller.target.namespace} if namespace else {}
            answers.append(session.completing_controller.get(path, **here, **query))

    # A name server that does not answer has a longer patience than any timeout of a connection.
    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(COMPLETION_SECONDS)
    return answers[0] if answers else None
