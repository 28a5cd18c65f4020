"""
What a person or a script reads: results on standard output, all else on standard error.

Rich is imported when there is something to draw, so that C{--help} and completion do not wait for it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import IO, TYPE_CHECKING, Any

from attrs import define

from confd.cli.errors import CommandError
from confd.cli.text import as_json, as_yaml
from confd.codec.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

FORMS = ("table", "json", "yaml")

#: How a state looks; what is not in it looks like nothing special.
_STYLES = {
    "applied": "green",
    "failed": "red",
    "silent": "yellow",
    "applying": "cyan",
    "ok": "green",
    "fail": "red",
    "warn": "yellow",
    "done": "green",
}

#: Around the cells of a table: above, right, below, left.
_GAP = (0, 2, 0, 0)

#: Lines of a difference that are shown with a question, and characters of each: what asks must stay in sight.
_MOST, _WIDEST = 200, 400

#: Columns where nothing wraps: a script that reads a table wants a line a row.
_UNBOUNDED = 100_000


@define(eq=False)
class Output:
    """
    Standard output and standard error.

    @ivar form: one of L{FORMS}.
    """

    _out: IO[str]
    _err: IO[str]
    form: str = "table"

    def show(self, value: Any, draw: Callable[[], None]) -> None:
        """
        The result of a command.

        @param value: as scripts get it.
        @param draw: writes it for people.
        """
        if self.form == "table":
            draw()
        else:
            self.line(as_json(value) if self.form == "json" else as_yaml(value))

    def event(self, value: Any, words: str) -> None:
        """One of many results: a line for people, a line of JSON, or a YAML document."""
        if self.form == "table":
            self.line(words)
        else:
            self.line(as_json(value, indent=None) if self.form == "json" else f"---\n{as_yaml(value)}")
        self._out.flush()

    def line(self, text: str) -> None:
        """Text that is fit to be shown, on standard output."""
        print(text, file=self._out)

    def raw(self, text: str) -> None:
        """Text on standard output: as it is for a script that wants it so, harmless where somebody looks at it."""
        self.line("\n".join(map(printable, text.split("\n"))) if self._out.isatty() else text)

    def say(self, sentence: str) -> None:
        """Something that is not the result, on standard error."""
        self._out.flush()
        print(sentence, file=self._err, flush=True)

    def fail(self, failure: CommandError) -> None:
        """Why the command cannot go on."""
        self.say(f"confdctl: {printable(failure.sentence)}")
        for each in failure.details:
            self.say(f"  {printable(each)}")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """
        Rows under a head. C{None} is shown as a dash; on a terminal, a column of nothing else is left out, and where
        the columns do not fit without breaking words, each row is told in a few lines.
        """
        from rich.table import Table
        from rich.text import Text

        cells = [["-" if each is None or each == "" else printable(each) for each in row] for row in rows]
        columns = [
            place
            for place in range(len(head))
            if not (cells and self._out.isatty() and all(row[place] == "-" for row in cells))
        ]
        names = [head[place] for place in columns]
        texts = [[Text(row[place], _STYLES.get(row[place], ""), overflow="fold") for place in columns] for row in cells]
        drawn = Table(*names, box=None, pad_edge=False, padding=_GAP, header_style="bold")
        # What names the row is for copying.
        drawn.columns[0].no_wrap = True
        for row in texts:
            drawn.add_row(*row)
        console = self._console(self._out)
        needed = drawn.__rich_measure__(console, console.options.update(max_width=_UNBOUNDED)).minimum
        with console.capture() as captured:
            if texts and needed > console.width:
                _records(console, names, texts)
            else:
                console.print(drawn)
        for line in captured.get().splitlines():
            self.line(line.rstrip())

    def facts(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Names and values, one a line."""
        widest = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            self.line(f"{name:{widest}}  {'-' if value is None or value == '' else printable(value)}")

    def diff(self, text: str, aside: bool = False) -> None:
        """
        A unified diff.

        @param aside: whether it only helps to decide, and is not the result: as much of it as somebody reads, then.
        """
        from rich.text import Text

        colours = {"+": "green", "-": "red", "@": "cyan"}
        console = self._console(self._err if aside else self._out)
        lines = text.removesuffix("\n").split("\n") if text else []
        read = [line[:_WIDEST] for line in lines[:_MOST]] if aside else lines

        def style(line: str) -> str:
            return "bold" if line.startswith(("+++", "---")) else colours.get(line[:1], "")

        for look, alike in groupby(read, style):
            console.print(Text("\n".join(map(printable, alike)), look), soft_wrap=True)
        if read != lines:
            self.say(f"That is not all of {len(lines)} lines; --dry-run shows it.")

    @contextlib.contextmanager
    def bar(self, words: str) -> Iterator[Callable[[int, int, str], None]]:
        """
        A bar that grows, where standard error is a terminal.

        @return: a function that takes how much is done, of how much, and a few words.
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

    def _console(self, file: IO[str]) -> Console:
        from rich.console import Console

        width = shutil.get_terminal_size().columns if file.isatty() else _UNBOUNDED
        return Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def _records(console: Console, names: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    """Each row by itself: what names it, and below that all that there is to say of it."""
    from rich.padding import Padding
    from rich.text import Text

    for first, *rest in rows:
        console.print(Text(first.plain, "bold"), soft_wrap=True)
        told = [(name, each) for name, each in zip(names[1:], rest, strict=True) if each.plain != "-"]
        console.print(
            Padding(Text("  ").join(Text.assemble((f"{name} ", "bold"), each) for name, each in told), (0, 0, 0, 2))
        )
