"""What a benchmark found: rows for people, bars that are reached or not, and the same as JSON and as a plot."""

from __future__ import annotations

import argparse
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

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"


@frozen
class Scale:
    """
    How much is measured.

    @ivar seconds: of one measurement under load.
    @ivar times: that each of those who are compared has its turn.
    @ivar agents: how many of them hear of a publish.
    @ivar rounds: publishes for each.
    @ivar known: agents that a controller knows, few and many; C{versions}: the same of what is behind it.
    @ivar returning: agents that lose their controller.
    @ivar outages: seconds that it is gone.
    """

    name: str
    seconds: float
    times: int
    agents: Sequence[int]
    rounds: int
    known: tuple[int, int]
    versions: tuple[int, int]
    returning: int
    outages: Sequence[float]


TINY = Scale("tiny", 0.2, 1, (10,), 1, (10, 50), (1, 100), 20, (0.5,))
SHORT = Scale("short", 1, 5, (1000,), 10, (100, 10_000), (1, 100_000), 500, (2,))
FULL = Scale("full", 3, 5, (1000, 5000, 8000), 20, (100, 100_000), (1, 1_000_000), 2000, (2, 10))


@frozen
class Bar:
    """
    What is to be reached.

    @ivar least: whether C{bound} is the least that will do, and not the most.
    """

    what: str
    value: float
    bound: float
    least: bool = True

    @property
    def met(self) -> bool:
        """Whether it is reached; what could not be measured is not."""
        return self.value >= self.bound if self.least else self.value <= self.bound

    def __str__(self) -> str:
        verdict = "met" if self.met else "MISSED"
        return f"{self.what}: {cell(self.value)}, at {'least' if self.least else 'most'} {cell(self.bound)}: {verdict}"


@frozen
class Finding:
    """
    What comes out.

    @ivar name: of the module.
    @ivar missing: the peers that are not installed.
    """

    name: str
    question: str
    table: Sequence[dict[str, Any]]
    bars: Sequence[Bar] = ()
    charts: Sequence[Chart] = ()
    missing: Sequence[str] = field(factory=list)

    def text(self) -> str:
        """For people."""
        said = [self.question, rows({name: _reader(name) for name in self.table[0]}, self.table)]
        said += [f"missing: {each} is not on PATH" for each in self.missing]
        return "\n".join([*said, *map(str, self.bars)])


def _reader(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row.get(name)


def save(finding: Finding, scale: Scale, folder: Path) -> None:
    """Write the JSON and the plot, and the page of all that are there."""
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
    """All of them as reStructuredText."""
    lines = ["Benchmarks", "==========", ""]
    lines += ["Written by ``make bench``; ``benchmarks/README.rst`` says how each figure is come by.", ""]
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
    """A list table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [{name: name for name in table[0]}, *table]:
        values = [cell(row.get(name)) for name in table[0]]
        lines += [f"   {'* -' if number == 0 else '  -'} {value}" for number, value in enumerate(values)]
    return [*lines, ""]


def say(sentence: str) -> None:
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr, flush=True)


def main(doc: str | None, measure: Callable[[Scale], Finding]) -> int:
    """The command line of one benchmark; its exit status is 0 whatever the bars say: they are for people."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="at full size, which takes minutes")
    parser.add_argument("--tiny", action="store_true", help="only to see that it runs")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder of results (docs/benchmarks)")
    options = parser.parse_args()
    scale = TINY if options.tiny else FULL if options.full else SHORT
    finding = measure(scale)
    save(finding, scale, options.into)
    print(finding.text())
    return 0
