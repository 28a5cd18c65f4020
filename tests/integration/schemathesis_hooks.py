"""What schemathesis is to leave alone."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """JSON Schema takes 7.0 for an integer; confd, which signs and hashes numbers as they are written, does not."""
    return not (isinstance(body, dict) and any(isinstance(each, float) and each.is_integer() for each in body.values()))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Nobody has ten minutes to wait for agents that do not exist."""
    timeout = case.query.get("timeout", 30)
    if case.query.get("wait") == "applied" and isinstance(timeout, (int, float)) and 0 < timeout <= 600:
        case.query["timeout"] = 0.1
