"""The table of outcomes, as text, JSON and reStructuredText."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import textwrap
from datetime import date
from pathlib import Path
from typing import Any

from attrs import frozen

import twisted
from tests.faults.rows import Outcome
from tests.faults.run import Suite

#: The lines of a page that enclose the table.
BEGIN, END = ".. faults: begin", ".. faults: end"


@frozen
class Table:
    """
    The outcomes of rows.

    @ivar rows: The result of L{row_of} for each outcome.
    @ivar suite: The run that the newest outcomes come from.
    """

    rows: list[dict[str, Any]]
    suite: Suite

    @classmethod
    def of(cls, outcomes: list[Outcome], suite: Suite, before: Path | None) -> Table:
        """
        Return a table of outcomes.

        @param before: The JSON of an earlier table, whose other rows are kept.
        """
        rows: dict[str, dict[str, Any]] = {}
        if before is not None and before.exists():
            rows = {each["row"]: each for each in json.loads(before.read_text())["rows"]}
        rows |= {each.row.id: row_of(each) for each in outcomes}
        return cls([rows[name] for name in sorted(rows)], suite)

    @property
    def summary(self) -> str:
        """The totals in one sentence."""
        ran = [each for each in self.rows if each["not_run"] is None]
        return (
            f"{len(ran)} of {len(self.rows)} rows ran, {sum(each['runs'] for each in ran)} times; "
            f"{sum(len(each['violations']) for each in ran)} violations"
        )

    def json(self) -> str:
        """Return the table as JSON."""
        whole = {"seed": self.suite.seed, "slack": self.suite.slack, "machine": machine(), "rows": self.rows}
        return json.dumps(whole, indent=1) + "\n"

    def text(self) -> str:
        """Return the table as text for a terminal."""
        head = f"{'row':14} {'fault':50} {'runs':>4} {'viol':>4} {'recovery':>9}  bar"
        lines = [f"seed {self.suite.seed}, slack {self.suite.slack:g}; {machine()}", "", head, "-" * 132]
        for each in self.rows:
            runs, violated, recovery, bar = _cells(each)
            lines.append(f"{each['row']:14} {each['title'][:50]:50} {runs:>4} {violated:>4} {recovery:>9}  {bar}")
        for each in self.rows:
            if each["violations"]:
                lines += ["", f"{each['row']}, kept in {', '.join(each.get('kept', []))}:"]
                lines += [textwrap.indent(sentence, "    ") for sentence in each["violations"][:10]]
        return "\n".join([*lines, "", self.summary])

    def write_page(self, path: Path) -> None:
        """
        Replace the table of a page.

        @raise ValueError: if the page lacks the enclosing lines.
        """
        before, begin, rest = path.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise ValueError(f"{path} has no lines {BEGIN!r} and {END!r}")
        path.write_text(f"{before}{BEGIN}\n\n{self._rst()}\n{END}{after}")

    def _rst(self) -> str:
        lines = [
            f"Last run: {date.today().isoformat()}, on {machine()}; the limits in seconds times {self.suite.slack:g}."
            f" {self.summary}.",
            "",
            ".. list-table::",
            "   :header-rows: 1",
            "   :widths: 8 24 28 5 7 8 30",
            "",
        ]
        rows = [("Row", "Fault", "Injected by", "Runs", "Violations", "Worst recovery", "Bar")]
        rows += [(each["row"], each["title"], each["how"], *_cells(each)) for each in self.rows]
        for cells in rows:
            lines += [f"   {'  -' if place else '* -'} {_escaped(cell)}" for place, cell in enumerate(cells)]
        return "\n".join(lines) + "\n"


def row_of(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON-compatible values."""
    return {
        "row": outcome.row.id,
        "title": outcome.row.title,
        "how": outcome.row.how,
        "bar": outcome.row.bar,
        "runs": outcome.runs,
        "violations": outcome.violations,
        "worst_recovery_seconds": round(outcome.recovery, 3),
        "not_run": outcome.why_not,
        "kept": outcome.kept,
    }


def machine() -> str:
    """Describe this machine and the versions in use."""
    return (
        f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, Python {platform.python_version()},"
        f" Twisted {twisted.__version__}, SQLite {sqlite3.sqlite_version}"
    )


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    if row["not_run"] is not None:
        return "0", "-", "-", f"not run: {row['not_run']}"
    took = row["worst_recovery_seconds"]
    return str(row["runs"]), str(len(row["violations"])), f"{took:.1f} s" if took else "-", row["bar"]


def _escaped(text: str) -> str:
    return "".join(f"\\{each}" if each in "\\*`_|" or text == "-" else each for each in text)
