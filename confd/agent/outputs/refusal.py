"""The sentence for a configuration that a worker rejects."""

from __future__ import annotations

from confd.errors import ConfdError, Unprocessable
from confd.model import Tag


def explain_refusal(tag: Tag, error: ConfdError) -> str:
    """
    Return one sentence that says what the worker did.

    @param error: L{Unprocessable} or L{confd.errors.Conflict}, with the words of the worker.
    """
    return f"The worker {_refusal_verb(error)} {tag}: {error.message}"


def _refusal_verb(refusal: ConfdError) -> str:
    if isinstance(refusal, Unprocessable):
        return "refuses configuration"
    return "holds another document as" if refusal.code == "other_content" else "holds a newer configuration than"
