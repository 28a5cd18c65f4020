"""Hooks of schemathesis that leave out a kind of request, and shorten another."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """Leave out 7.0 for an integer: JSON Schema allows it, and confd, which hashes numbers as written, does not."""
    return not (isinstance(body, dict) and any(isinstance(each, float) and each.is_integer() for each in body.values()))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Shorten waits for agents, since no agent exists."""
    timeout = case.query.get("timeout", 30)
    if case.query.get("wait") == "applied" and isinstance(timeout, (int, float)) and 0 < timeout <= 600:
        case.query["timeout"] = 0.1
