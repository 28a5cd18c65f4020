"""Results of a benchmark: a table, targets that are met or missed, JSON and a plot."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

from benchmarks.figures import cell, rows
from benchmarks.host import machine
from benchmarks.plots import Chart, svg

_ROOT = Path(__file__).resolve().parents[1]

FOLDER = _ROOT / "docs" / "benchmarks"


@frozen
class Scale:
    """
    The size of a measurement.

    @ivar seconds: the length of one measurement under load.
    @ivar times: the turns of each server.
    @ivar agents: numbers of agents that listen for a publish.
    @ivar rounds: publishes for each number of agents.
    @ivar known: agents in the registry, few and many; C{versions}: the length of the history, likewise; C{namespaces},
        likewise.
    @ivar returning: agents that lose their controller.
    @ivar outages: lengths of the outages, in seconds.
    """

    name: str
    seconds: float
    times: int
    agents: Sequence[int]
    rounds: int
    known: tuple[int, int]
    versions: tuple[int, int]
    namespaces: tuple[int, int]
    returning: int
    outages: Sequence[float]


TINY = Scale("tiny", 0.2, 1, (10,), 1, (10, 50), (1, 100), (1, 5), 20, (0.5,))
SHORT = Scale("short", 1, 5, (1000,), 10, (100, 10_000), (1, 100_000), (1, 1000), 500, (2,))
FULL = Scale("full", 3, 5, (1000, 5000, 8000), 20, (100, 1_000_000), (1, 1_000_000), (1, 10_000), 2000, (2, 10))


@frozen
class Bar:
    """
    A target for a figure.

    @ivar least: whether C{bound} is a minimum; else it is a maximum.
    """

    what: str
    value: float
    bound: float
    least: bool = True

    @property
    def met(self) -> bool:
        """Return whether the value meets the target; NaN does not."""
        return self.value >= self.bound if self.least else self.value <= self.bound

    def __str__(self) -> str:
        verdict = "met" if self.met else "MISSED"
        return f"{self.what}: {cell(self.value)}, at {'least' if self.least else 'most'} {cell(self.bound)}: {verdict}"


@frozen
class Finding:
    """
    The result of a benchmark.

    @ivar name: the name of the module.
    @ivar missing: the peers that are not installed.
    """

    name: str
    question: str
    table: Sequence[dict[str, Any]]
    bars: Sequence[Bar] = ()
    charts: Sequence[Chart] = ()
    missing: Sequence[str] = field(factory=list)

    def text(self) -> str:
        """Return the result as text."""
        said = [self.question, rows({name: _reader(name) for name in self.table[0]}, self.table)]
        said += [f"missing: {each} is not on PATH" for each in self.missing]
        return "\n".join([*said, *map(str, self.bars)])


def _reader(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row.get(name)


def save(finding: Finding, scale: Scale, folder: Path) -> None:
    """Write the JSON and the plot of a result, then the page of all results in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    record = asdict(finding) | {
        "scale": f"{scale.name}, {scale.times} times",
        "machine": machine(),
        "load": os.getloadavg()[0],
        "measured": datetime.now(UTC).isoformat(timespec="minutes"),
        "bars": [asdict(each) | {"met": each.met} for each in finding.bars],
    }
    (folder / f"{finding.name}.json").write_text(json.dumps(record, indent=2) + "\n")
    if finding.charts:
        (folder / f"{finding.name}.svg").write_text(svg(finding.charts))
    records = [json.loads(each.read_text()) for each in sorted(folder.glob("*.json"))]
    (folder / "index.rst").write_text(page(records))


def page(records: Sequence[dict[str, Any]]) -> str:
    """Return a page of all results as reStructuredText."""
    lines = ["Benchmarks", "==========", ""]
    lines += ["Written by ``make bench``; ``benchmarks/README.rst`` explains how each figure is measured.", ""]
    for record in records:
        lines += [record["question"], "-" * len(record["question"]), ""]
        lines += _table(record["table"])
        lines += [f"* missing: {each} is not on PATH" for each in record["missing"]]
        lines += [f"* {Bar(*(each[key] for key in ('what', 'value', 'bound', 'least')))}" for each in record["bars"]]
        lines += ["", f".. image:: {record['name']}.svg", f"   :alt: {record['question']}"] * bool(record["charts"])
        where = (
            f"{record['measured']}, {record['scale']}, load of the machine {record['load']:.1f}: {record['machine']}."
        )
        lines += ["", where, ""]
    return "\n".join(lines)


def _table(table: Sequence[dict[str, Any]]) -> list[str]:
    """Return a list table as lines of reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [{name: name for name in table[0]}, *table]:
        values = [cell(row.get(name)) for name in table[0]]
        lines += [f"   {'* -' if number == 0 else '  -'} {value}" for number, value in enumerate(values)]
    return [*lines, ""]


def say(sentence: str) -> None:
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


def main(doc: str | None, measure: Callable[[Scale], Finding]) -> int:
    """Run the command of one benchmark; return status 0 even if a target is missed, for readers judge the targets."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="at full size, which takes minutes")
    parser.add_argument("--tiny", action="store_true", help="as little as possible, to check that it runs")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder of results (docs/benchmarks)")
    options = parser.parse_args()
    scale = TINY if options.tiny else FULL if options.full else SHORT
    # As an installation does: without it, each start would compile all modules, which takes a quarter of the start.
    for folder in ("confd", "twisted"):
        compileall.compile_dir(_ROOT / folder, quiet=1)
    finding = measure(scale)
    save(finding, scale, options.into)
    print(finding.text())
    return 0
