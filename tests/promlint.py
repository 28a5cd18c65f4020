"""
What Prometheus's conventions ask of an exposition, after C{promtool check metrics} and the naming best practices.

Each rule is a function of one family; what it returns are complaints.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

#: Seconds and bytes are the base units that are needed here; these are not.
_OTHER_UNITS = {
    "ms",
    "milliseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "mb",
    "kilobytes",
    "megabytes",
    "bits",
    "percent",
}
_TYPES = {"gauge", "counter", "histogram", "summary", "metric"}

#: Values of one label at most: what a caller can make up must not become a label.
MOST_VALUES = 60

_NAME = re.compile(r"(confd|process)(_[a-z0-9]+)+")
_LABEL = re.compile(r"[a-z]+(_[a-z]+)*")


def lint(exposition: bytes) -> list[str]:
    """Everything that is wrong with it."""
    text = exposition.decode("utf-8")
    complaints = [] if text.endswith("\n") else ["it does not end with a line end"]
    for mark in ("HELP", "TYPE"):
        counts = Counter(re.findall(rf"^# {mark} (\S+)", text, re.MULTILINE))
        complaints += [f"{name} has {times} lines of {mark}" for name, times in counts.items() if times != 1]
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE):
        if (kind == "counter") != name.endswith("_total"):
            complaints.append(f"{name}: is a {kind}, and _total is for counters, all of them")
    for family in text_string_to_metric_families(text):
        for rule in (_names, _words, _units, _labels, _buckets, _series):
            complaints += [f"{family.name}: {complaint}" for complaint in rule(family)]
    return complaints


def _names(family: Metric) -> Iterator[str]:
    if not _NAME.fullmatch(family.name):
        yield "is not in snake_case, or lacks the prefix"
    if family.type == "unknown":
        yield "has no type"
    if family.name.rpartition("_")[2] in ("count", "sum", "bucket", "created", "info") and family.type != "gauge":
        yield "ends as a part of another family does"
    if _TYPES & set(family.name.split("_")):
        yield "names its type"


def _words(family: Metric) -> Iterator[str]:
    if not re.fullmatch(r"[A-Z0-9].*[^.]\.", family.documentation):
        yield f"has no help that is a sentence: {family.documentation!r}"


def _units(family: Metric) -> Iterator[str]:
    parts = family.name.split("_")
    if _OTHER_UNITS & set(parts):
        yield "is not in a base unit"
    if {"seconds", "bytes"} & set(parts[:-1]):
        yield "has its unit in the middle"
    if family.type == "histogram" and parts[-1] not in ("seconds", "bytes"):
        yield "is a histogram without a unit"


def _labels(family: Metric) -> Iterator[str]:
    values: dict[str, set[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            values.setdefault(label, set()).add(value)
    for label, those in values.items():
        if not _LABEL.fullmatch(label):
            yield f"has the label {label!r}"
        if label == "le" and family.type != "histogram":
            yield "has the label of a histogram"
        if f"_by_{label}" in family.name:
            yield f"says {label} twice"
        if len(those) > MOST_VALUES:
            yield f"has {len(those)} values of {label}"


def _buckets(family: Metric) -> Iterator[str]:
    if family.type != "histogram":
        return
    series: dict[tuple[tuple[str, str], ...], dict[str, list[float]]] = {}
    for sample in family.samples:
        labels = tuple(sorted((label, value) for label, value in sample.labels.items() if label != "le"))
        part = sample.name.removeprefix(f"{family.name}_")
        series.setdefault(labels, {"bucket": [], "count": [], "sum": []})[part].append(sample.value)
    for labels, found in series.items():
        if found["bucket"] != sorted(found["bucket"]) or found["bucket"][-1:] != found["count"]:
            yield f"has buckets that do not add up at {labels}"
        if len(found["sum"]) != 1:
            yield f"has {len(found['sum'])} sums at {labels}"


def _series(family: Metric) -> Iterator[str]:
    seen = Counter((sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples)
    for series, times in seen.items():
        if times > 1:
            yield f"has {series} {times} times"
    if any(sample.timestamp is not None for sample in family.samples):
        yield "has a time of its own"
