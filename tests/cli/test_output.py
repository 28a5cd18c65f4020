"""Tests of L{confd.cli.output}: output on a terminal and in a pipe."""

import io
import re

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.output import Output
from confd.codec.text import printable
from tests.cli.harness import NOW
from tests.integration.terminal_picture import screen_of

HEAD, ROWS = ["NAME", "STATE", "ERROR"], [["a" * 90, "applied", None], ["b", "failed", ""]]


class Terminal(io.StringIO):
    """A buffer that claims to be a terminal."""

    def isatty(self):
        return True


class OutputTests(SynchronousTestCase):
    """L{Output}, for people and for scripts."""

    def _drawn(self, out, draw):
        draw(Output(out, io.StringIO(), lambda: NOW))
        return out.getvalue()

    def test_scripts_get_every_column_and_people_no_empty_one(self):
        piped = self._drawn(io.StringIO(), lambda screen: screen.table(HEAD, ROWS)).splitlines()
        self.assertEqual([line.split() for line in piped], [HEAD, ["a" * 90, "applied", "-"], ["b", "failed", "-"]])
        self.assertEqual(piped, [line.rstrip() for line in piped])
        shown = self._drawn(Terminal(), lambda screen: screen.table(HEAD, ROWS))
        self.assertNotIn("ERROR", shown)

    def test_empty_table_is_a_word_for_people_and_titles_for_scripts(self):
        for out, shown, said in ((Terminal(), "", "None.\n"), (io.StringIO(), " ".join(HEAD), "None.\n")):
            err = io.StringIO()
            Output(out, err, lambda: NOW).table(HEAD, [])
            self.assertEqual((" ".join(out.getvalue().split()), err.getvalue()), (shown, said))

    def test_narrow_terminal_gets_a_block_for_each_row(self):
        rows = [["id-1", "web-17.example.net", "applied", None], ["id-2", "w" * 60, "failed", "two words"]]
        head = ["ID", "HOST", "STATE", "ERROR"]
        shown = self._drawn(Terminal(), lambda screen: screen.table(head, rows))
        drawn = plain(shown).splitlines()
        self.assertEqual(drawn[:2], ["id-1", "  HOST web-17.example.net  STATE applied"])
        self.assertEqual(drawn[2], "id-2")
        self.assertEqual(" ".join(drawn[3:]).split(), ["HOST", "w" * 60, "STATE", "failed", "ERROR", "two", "words"])
        self.assertLessEqual(max(map(len, drawn)), 80)

    def test_diff_before_a_question_is_cut(self):
        text = "".join(f"+{number}\n" for number in range(5000)) + "-" + "x" * 100000 + "\n"
        out, err = io.StringIO(), io.StringIO()
        Output(out, err, lambda: NOW).diff(text)
        self.assertEqual((out.getvalue(), err.getvalue()), (text, ""))
        for each in (text, "-" + "x" * 100000):
            err.truncate(err.seek(0))
            Output(out, err, lambda: NOW).diff(each, aside=True)
            self.assertLess(len(err.getvalue()), 2000)
            self.assertIn("--dry-run", err.getvalue())

    def test_raw_text_is_escaped_on_a_terminal_only(self):
        for out, wanted in ((io.StringIO(), "a\x1b\nb\n"), (Terminal(), "a\\x1b\nb\n")):
            self.assertEqual(self._drawn(out, lambda screen: screen.raw("a\x1b\nb")), wanted)

    def test_bar_is_drawn_on_a_terminal_only(self):
        for err, drawn in ((io.StringIO(), False), (Terminal(), True)):
            with Output(io.StringIO(), err, lambda: NOW).bar("Version 3") as grow:
                grow(1, 2, "[bold]1 failed")
            self.assertEqual("[bold]1 failed" in err.getvalue(), drawn)

    def test_live_table_is_replaced_in_place_on_a_terminal(self):
        err = Terminal()
        with Output(io.StringIO(), err, lambda: NOW).live() as show:
            for sentence in ("first", "sec\x1bond"):
                show(HEAD, [["a", "failed", None]], printable(sentence), "news")
                shown = plain(screen_of(err.getvalue()))
                self.assertEqual(shown.split(), [*HEAD, "a", "failed", "-", printable(sentence)])
        self.assertEqual(plain(screen_of(err.getvalue())).strip(), "")

    def test_live_table_is_a_line_for_each_news_in_a_pipe(self):
        err = io.StringIO()
        with Output(io.StringIO(), err, lambda: NOW).live() as show:
            for sentence, news in (("first", "one"), ("second", "one"), ("third", "two")):
                show(HEAD, [], sentence, news)
        self.assertEqual(err.getvalue(), "one\ntwo\n")


def plain(text):
    """Return a text without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
