"""
Golden files: what confd puts on the wire, recorded, so that a change inside confd that shows outside is seen.

What differs from run to run (ids, tokens, signatures, times of this machine) is replaced by C{<kind-number>}, numbered
in the order in which it first appears. C{CONFD_GOLDEN=write} records the files again; read the difference before you
commit it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

HERE = Path(__file__).resolve().parent

#: What differs from run to run, by kind; the first pattern that matches names a value.
_VARYING = (
    ("uuid", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    ("signature", r"[A-Za-z0-9+/]{86}=="),
    ("key", r"[A-Za-z0-9+/]{43}="),
    ("token", r"(?<=\"token\":\")[A-Za-z0-9_-]{43}"),
    ("hash", r"(?<!sha256:)(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"),
    ("id", r"(?<![0-9a-f:])[0-9a-f]{16}(?![0-9a-f])"),
    ("date", r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"),
    ("cluster", r"(?<![0-9a-f])[0-9a-f]{8}(?=\.\d+\.\d+)"),
)
_ANY = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _VARYING))


def normalize(text: str) -> str:
    """
    Return a text with a placeholder for each value that differs from run to run.

    @param text: all of a golden file: equal values get equal placeholders.
    """
    seen: dict[tuple[str, str], str] = {}

    def placeholder(found: re.Match[str]) -> str:
        kind = str(found.lastgroup)
        # Requests, agents and events have ids of their own; how many were made before says nothing.
        if kind in ("id", "date"):
            return f"<{kind}>"
        number = 1 + sum(1 for known, _ in seen if known == kind)
        return seen.setdefault((kind, found.group()), f"<{kind}-{number}>")

    return _ANY.sub(placeholder, text)


def metric_names(exposition: str) -> list[str]:
    """
    Return the types of all metrics, and their samples without values and without values of labels.

    @param exposition: in the text format of Prometheus.
    """
    lines = [re.sub(r'="[^"]*"', "", line.rpartition(" ")[0]) for line in exposition.splitlines() if line[:1] != "#"]
    return sorted({*lines, *(line for line in exposition.splitlines() if line.startswith("# TYPE"))})


def api_shape(document: dict[str, Any]) -> str:
    """
    Return an OpenAPI document without prose, with each schema in the place of its name.

    @param document: OpenAPI 3.1.
    """
    schemas = document["components"]["schemas"]

    def shape(node: Any, within: tuple[str, ...] = ()) -> Any:
        if isinstance(node, list):
            return [shape(each, within) for each in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).removeprefix("#/components/schemas/")
        if name in schemas:
            return "recursive" if name in within else shape(schemas[name], (*within, name))
        prose = ("description", "summary", "title", "tags", "operationId", "example", "examples")
        return {
            key: shape(value, within)
            for key, value in node.items()
            if not (key in prose and isinstance(value, (str, list)))
        }

    shown = {key: shape(value) for key, value in document.items() if key not in ("info", "components", "tags")}
    return json.dumps(shown, indent=1, sort_keys=True)


class GoldenTestCase(SynchronousTestCase):
    """A test case that compares what it recorded with a file beside this module."""

    maxDiff = None

    def assert_golden(self, name: str, recorded: str, varying: bool = True) -> None:
        """
        Compare with the golden file, or write it where C{CONFD_GOLDEN=write} says so.

        @param name: of the file.
        @param recorded: what was seen, not normalized.
        @param varying: whether it has values that differ from run to run.
        """
        text, path = normalize(recorded) if varying else recorded, HERE / name
        if os.environ.get("CONFD_GOLDEN") == "write":
            path.write_text(text, "utf-8")
        self.assertEqual(text.splitlines(), path.read_text("utf-8").splitlines(), f"{name} differs")
