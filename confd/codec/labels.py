"""The labels of agents: values that an agent declares and an operator sets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from attrs import frozen

from confd.codec.text import pointer_to
from confd.errors import Unprocessable
from confd.model import Registration

KEY = re.compile(r"[a-z0-9][a-z0-9._/-]{0,62}", re.ASCII)
VALUE = re.compile(r"[A-Za-z0-9._-]{0,63}", re.ASCII)

#: Labels that an agent declares at most, and labels that an operator sets on an agent at most.
MAX_LABELS = 32

#: The labels of an agent on which no operator set any.
NO_LABELS: Mapping[str, str] = MappingProxyType({})

#: Keys of the labels that the controller adds.
RESERVED = frozenset({"id", "hostname", "strategy"})


@frozen
class DeclaredLabels:
    """
    The labels that an agent declares in its metadata.

    @ivar ignored: pieces of the metadata that are no label, have a reserved key, repeat a key or exceed L{MAX_LABELS}.
    """

    labels: Mapping[str, str]
    ignored: Sequence[str]


def parse_metadata(metadata: str) -> DeclaredLabels:
    """
    Parse the metadata of an agent: pieces C{key=value}, separated by commas.

    A piece without C{=} is a key with an empty value. Blanks around a piece and empty pieces mean nothing.
    """
    labels: dict[str, str] = {}
    ignored: list[str] = []
    for piece in filter(None, map(str.strip, metadata.split(","))):
        key, _, value = piece.partition("=")
        if _problem(key, value) or key in labels or len(labels) == MAX_LABELS:
            ignored.append(piece)
        else:
            labels[key] = value
    return DeclaredLabels(labels, ignored)


def check_changes(changes: Mapping[str, object]) -> dict[str, str | None]:
    """
    Check changes of the labels that an operator set; C{None} removes a label.

    @raise Unprocessable: C{bad_label}; C{details} points to each label that is wrong.
    """
    checked: dict[str, str | None] = {}
    details = []
    for key, value in changes.items():
        if value is None or isinstance(value, str):
            checked[key] = value
            problem = _problem(key, value or "")
        else:
            problem = "the value must be text, or null to remove the label"
        if problem:
            details.append({"pointer": pointer_to("", key), "message": problem})
    if details:
        first = details[0]
        raise Unprocessable("bad_label", f"{first['pointer'][1:65]}: {first['message']}.", details)
    return checked


def merge(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """
    Return labels with checked changes applied, by key.

    @raise Unprocessable: C{bad_label}, if more than L{MAX_LABELS} labels result.
    """
    merged = {key: value for key, value in sorted({**labels, **changes}.items()) if value is not None}
    if len(merged) > MAX_LABELS:
        raise Unprocessable(
            "bad_label", f"An agent can have {MAX_LABELS} labels that were set, and would have {len(merged)}."
        )
    return merged


def format_labels(labels: Mapping[str, str]) -> str:
    """Return labels in the form in which agents declare them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _problem(key: str, value: str) -> str:
    """Return the reason why a label is invalid; empty if it is valid."""
    if key in RESERVED:
        return "the controller sets this key itself"
    if KEY.fullmatch(key) is None:
        return "a key has 1 to 63 of a-z, 0-9, '.', '_', '/' and '-', and begins with a letter or digit"
    if VALUE.fullmatch(value) is None:
        return "a value has at most 63 of A-Z, a-z, 0-9, '.', '_' and '-'"
    return ""


def own_labels(registration: Registration) -> dict[str, str]:
    """Return the labels of an agent as far as it knows them: operators may set others."""
    own = {"id": registration.agent_id, "hostname": registration.hostname, "strategy": registration.strategy}
    return {**parse_metadata(registration.metadata).labels, **own}
