"""
The output of a command: results on standard output, messages on standard error.

Rich is imported only to draw, so that C{--help} and completion stay fast.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import IO, TYPE_CHECKING

from attrs import define

from confd.cli.errors import CommandError
from confd.cli.text import as_json, as_yaml
from confd.codec.strict_json import JsonValue
from confd.codec.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

FORMS = ("table", "json", "yaml")

#: The colour of each state.
_STYLES = {
    "applied": "green",
    "failed": "red",
    "silent": "yellow",
    "applying": "cyan",
    "pending": "cyan",
    "ok": "green",
    "fail": "red",
    "warn": "yellow",
    "done": "green",
}

#: Padding of the cells of a table, in characters: top, right, bottom, left.
_CELL_PADDING = (0, 2, 0, 0)

#: Lines of a diff that are shown before a question, so that the question stays in sight.
_MAX_DIFF_LINES = 200
#: Characters of each of these lines.
_MAX_DIFF_COLUMNS = 400

#: Width of a table that is not for a terminal: scripts expect one line for each row.
_UNBOUNDED_COLUMNS = 100_000


@define(eq=False)
class Output:
    """
    Standard output and standard error.

    @ivar form: one of L{FORMS}.
    """

    _out: IO[str]
    _err: IO[str]
    form: str = "table"

    def show(self, value: JsonValue, draw: Callable[[], None]) -> None:
        """
        Print the result of a command.

        @param value: the value for scripts.
        @param draw: prints it for people.
        """
        if self.form == "table":
            draw()
        else:
            self.line(as_json(value) if self.form == "json" else as_yaml(value))

    def event(self, value: JsonValue, words: str) -> None:
        """Print one of many results: a line of text, a line of JSON, or a YAML document."""
        if self.form == "table":
            self.line(words)
        else:
            self.line(as_json(value, indent=None) if self.form == "json" else f"---\n{as_yaml(value)}")
        self._out.flush()

    def line(self, text: str) -> None:
        """Print a line of printable text on standard output."""
        print(text, file=self._out)

    def raw(self, text: str) -> None:
        """Print text on standard output: unchanged for a script, with escapes on a terminal."""
        self.line("\n".join(map(printable, text.split("\n"))) if self._out.isatty() else text)

    def say(self, sentence: str) -> None:
        """Print a sentence on standard error."""
        self._out.flush()
        print(sentence, file=self._err, flush=True)

    def fail(self, failure: CommandError) -> None:
        """Print an error and its details on standard error."""
        self.say(f"confdctl: {printable(failure.sentence)}")
        for each in failure.details:
            self.say(f"  {printable(each)}")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """
        Print rows below column titles, with a dash for C{None}.

        A terminal gets no column that holds only dashes, and a word in place of an empty table. Where the columns would
        break words, each row is printed in several lines.
        """
        if not rows and self._out.isatty():
            self.say("None.")
            return
        cells = _cells(rows)
        columns = [
            place
            for place in range(len(head))
            if not (cells and self._out.isatty() and all(row[place].plain == "-" for row in cells))
        ]
        names = [head[place] for place in columns]
        texts = [[row[place] for place in columns] for row in cells]
        drawn = _grid(names, texts)
        console = self._console(self._out)
        needed = drawn.__rich_measure__(console, console.options.update(max_width=_UNBOUNDED_COLUMNS)).minimum
        with console.capture() as captured:
            if texts and needed > console.width:
                _records(console, names, texts)
            else:
                console.print(drawn)
        for line in captured.get().splitlines():
            self.line(line.rstrip())

    def facts(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Print names and values, a pair on each line."""
        widest = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            self.line(f"{name:{widest}}  {'-' if value is None or value == '' else printable(value)}")

    def diff(self, text: str, aside: bool = False) -> None:
        """
        Print a unified diff.

        @param aside: whether it precedes a question: then it goes to standard error, and only its beginning is shown.
        """
        from rich.text import Text

        colours = {"+": "green", "-": "red", "@": "cyan"}
        console = self._console(self._err if aside else self._out)
        lines = text.removesuffix("\n").split("\n") if text else []
        read = [line[:_MAX_DIFF_COLUMNS] for line in lines[:_MAX_DIFF_LINES]] if aside else lines

        def style(line: str) -> str:
            return "bold" if line.startswith(("+++", "---")) else colours.get(line[:1], "")

        for look, alike in groupby(read, style):
            console.print(Text("\n".join(map(printable, alike)), look), soft_wrap=True)
        if read != lines:
            self.say(f"The diff has {len(lines)} lines and is cut here; --dry-run shows all of them.")

    @contextlib.contextmanager
    def bar(self, words: str) -> Iterator[Callable[[int, int, str], None]]:
        """
        Show a progress bar where standard error is a terminal.

        @return: a function that takes the count done, the total, and a few words.
        """
        if not self._err.isatty():
            yield lambda done, total, said: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console(self._err)) as progress:
            task = progress.add_task(words, total=None, said="")
            yield lambda done, total, said: progress.update(task, completed=done, total=total, said=said)

    @contextlib.contextmanager
    def live(self) -> Iterator[Callable[[Sequence[str], Sequence[Sequence[object]], str, str], None]]:
        """
        Show a table and a sentence that change in place where standard error is a terminal, and print news elsewhere.

        @return: a function that takes column titles, rows, a sentence, and the news: a line to print when it changes.
        """
        if not self._err.isatty():
            printed = [""]

            def tell(head: Sequence[str], rows: Sequence[Sequence[object]], sentence: str, news: str) -> None:
                if news != printed[0]:
                    printed[0] = news
                    self.say(news)

            yield tell
            return
        from rich.console import Group
        from rich.live import Live
        from rich.text import Text

        with Live(console=self._console(self._err), auto_refresh=False, transient=True) as screen:
            yield lambda head, rows, sentence, news: screen.update(
                Group("", _grid(head, _cells(rows)), "", Text(sentence, overflow="fold")), refresh=True
            )

    def _console(self, file: IO[str]) -> Console:
        from rich.console import Console

        width = shutil.get_terminal_size().columns if file.isatty() else _UNBOUNDED_COLUMNS
        return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def _cells(rows: Sequence[Sequence[object]]) -> list[list[Text]]:
    """Return the values of rows as coloured text, with a dash for C{None}."""
    from rich.text import Text

    cells = [["-" if each is None or each == "" else printable(each) for each in row] for row in rows]
    return [[Text(cell, _STYLES.get(cell, ""), overflow="fold") for cell in row] for row in cells]


def _grid(names: Sequence[str], rows: Sequence[Sequence[Text]]) -> Table:
    """Return a table without lines."""
    from rich.table import Table

    drawn = Table(*names, box=None, pad_edge=False, padding=_CELL_PADDING, header_style="bold")
    # The first column names the row; people copy it.
    drawn.columns[0].no_wrap = True
    for row in rows:
        drawn.add_row(*row)
    return drawn


def _records(console: Console, names: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """Print each row as a block: its first cell, and below it the other cells with their names."""
    from rich.padding import Padding
    from rich.text import Text

    for first, *rest in rows:
        console.print(Text(first.plain, "bold"), soft_wrap=True)
        shown = [(name, each) for name, each in zip(names[1:], rest, strict=True) if each.plain != "-"]
        console.print(
            Padding(Text("  ").join(Text.assemble((f"{name} ", "bold"), each) for name, each in shown), (0, 0, 0, 2))
        )
