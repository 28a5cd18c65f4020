"""
The output of a command: results on standard output, messages on standard error.

Rich is imported only to draw, so that C{--help} and completion stay fast.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import IO, TYPE_CHECKING

from attrs import define

from confd.cli.errors import CommandError
from confd.cli.forms import TABLE, Form
from confd.cli.listing import Column, Item, Kind, as_csv, in_order, positional
from confd.codec.strict_json import JsonValue
from confd.codec.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

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

#: Characters that a column of words has at least; longer words take more.
_MIN_WORDS_COLUMNS = 24

#: Width of a table that is not for a terminal: scripts expect one line for each row.
_UNBOUNDED_COLUMNS = 100_000


@define(eq=False)
class Output:
    """
    Standard output and standard error.

    @ivar form: the form of the result.
    @ivar sort_by: name of the column that a list is in the order of; C{None} for the order of the command.
    @ivar headers: whether a list has a line with the titles of its columns.
    @ivar _columns: returns the width of the terminal in characters.
    """

    _out: IO[str]
    _err: IO[str]
    _now: Callable[[], datetime]
    form: Form = TABLE
    sort_by: str | None = None
    headers: bool = True
    _columns: Callable[[], int] = lambda: shutil.get_terminal_size().columns

    def show(self, value: JsonValue, draw: Callable[[], None]) -> None:
        """
        Print the result of a command.

        @param value: the value for scripts.
        @param draw: prints it for people.
        """
        if self.form.for_people:
            draw()
        else:
            self._write(self.form.write(value))

    def listing(self, items: Sequence[Item], columns: Sequence[Column], empty: str = "None.") -> None:
        """
        Print a list.

        @param items: the values for scripts.
        @param empty: the sentence on standard error about a list without items.
        @raise CommandError: the user named a column that the list does not have.
        """
        if self.sort_by is not None:
            items = in_order(items, columns, self.sort_by)
        if self.form.name == "csv":
            self._write(as_csv(items, columns, self.headers))
            return
        self.show([*items], lambda: self._draw_table(items, columns, empty))

    def event(self, value: JsonValue, words: str) -> None:
        """Print one of many results: a line of text, a line of JSON, or a YAML document."""
        self._write(words if self.form.for_people else self.form.write(value, one_line=True))
        self._out.flush()

    def _write(self, text: str) -> None:
        if text:
            self.line(text)

    def line(self, text: str) -> None:
        """Print a line of printable text on standard output."""
        print(text, file=self._out)

    def raw(self, text: str) -> None:
        """Print text on standard output: unchanged for a script, with escapes on a terminal."""
        self.line("\n".join(map(printable, text.split("\n"))) if self._out.isatty() else text)

    def words(self, text: str) -> None:
        """Print a paragraph on standard output, in lines that fit a terminal."""
        from rich.text import Text

        self._console(self._out).print(Text(printable(text)))

    def say(self, sentence: str) -> None:
        """Print a sentence on standard error."""
        self._out.flush()
        print(sentence, file=self._err, flush=True)

    def fail(self, failure: CommandError) -> None:
        """Print an error and its details on standard error."""
        self.say(f"confdctl: {printable(failure.sentence)}")
        for each in failure.details:
            self.say(f"  {printable(each)}")

    def table(self, head: Sequence[str | Column], rows: Sequence[Sequence[object]]) -> None:
        """Print rows below column titles, as a part of a result; see L{listing}."""
        self._draw_table(rows, positional(head), "None.")

    def _draw_table(self, items: Sequence[Item], columns: Sequence[Column], empty: str) -> None:
        """
        Print items below column titles, with a dash for C{None}.

        A terminal gets short values, no column that holds only dashes, and a sentence in place of an empty table. Where
        the width does not suffice, spare columns are left out; where the others would break values, each item is
        printed in several lines.
        """
        terminal = self._out.isatty()
        if not items and (terminal or not self.headers):
            self.say(empty)
            return
        exact = not terminal or self.form.name == "wide"
        now = self._now()
        cells = _cells([[each.exact(item) if exact else each.short(item, now) for each in columns] for item in items])
        if not items:
            self.say(empty)
        shown = list(range(len(columns)))
        if terminal and items:
            shown = [place for place in shown if any(row[place].plain != "-" for row in cells)] or shown[:1]
        console = self._console(self._out, bounded=not exact)
        if not exact:
            shown = _fitting(columns, cells, shown, console.width)
        names = [columns[place] for place in shown]
        texts = [[row[place] for place in shown] for row in cells]
        with console.capture() as captured:
            if texts and _needed(columns, cells, shown) > console.width:
                _records(console, [each.title for each in names], texts)
            else:
                console.print(_grid(names, texts, self.headers))
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
                Group("", _grid(positional(head), _cells(rows)), "", Text(sentence, overflow="fold")), refresh=True
            )

    def _console(self, file: IO[str], bounded: bool = True) -> Console:
        from rich.console import Console

        width = self._columns() if bounded and file.isatty() else _UNBOUNDED_COLUMNS
        return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def _cells(rows: Sequence[Sequence[object]]) -> list[list[Text]]:
    """Return the values of rows as coloured text, with a dash for C{None}."""
    from rich.text import Text

    cells = [["-" if each is None or each == "" else printable(each) for each in row] for row in rows]
    return [[Text(cell, _STYLES.get(cell, ""), overflow="fold") for cell in row] for row in cells]


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[Text]], shown: list[int], width: int) -> list[int]:
    """Return the columns that are left when the spare ones go, until the width suffices."""
    left = list(shown)
    spare = sorted((place for place in shown if columns[place].spare), key=lambda place: columns[place].spare)
    while spare and _needed(columns, cells, left) > width:
        left.remove(spare.pop())
    return left


def _needed(columns: Sequence[Column], cells: Sequence[Sequence[Text]], shown: Sequence[int]) -> int:
    """Return the characters of a line that breaks no value."""
    widths = []
    for place in shown:
        texts = [row[place] for row in cells]
        if columns[place].kind is Kind.WORDS:
            longest = max((_words_needed(each) for each in texts), default=0)
        else:
            longest = max((each.cell_len for each in texts), default=0)
        widths.append(max(longest, len(columns[place].title)))
    return sum(widths) + _CELL_PADDING[1] * (len(widths) - 1)


def _words_needed(text: Text) -> int:
    """Return the characters that a column needs so that no word of a text is broken."""
    from rich.cells import cell_len

    longest = max(map(cell_len, text.plain.split()), default=0)
    return max(longest, min(text.cell_len, _MIN_WORDS_COLUMNS))


def _grid(columns: Sequence[Column], rows: Sequence[Sequence[Text]], headers: bool = True) -> Table:
    """Return a table without lines."""
    from rich.table import Table

    titles = [each.title for each in columns]
    drawn = Table(*titles, box=None, pad_edge=False, padding=_CELL_PADDING, header_style="bold", show_header=headers)
    for each, place in zip(drawn.columns, columns, strict=True):
        each.no_wrap = place.kind is not Kind.WORDS
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
