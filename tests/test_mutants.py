"""The mutants of C{make test-mutants} follow the code."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from tests.faults.mutants import ALL_MUTANTS, ROOT, mismatch
from tests.faults.mutations import MUTANTS, Edit


class MutantTests(SynchronousTestCase):
    """The words that the mutants replace."""

    def test_each_edit_fits_the_code(self) -> None:
        edits = [(mutant, edit) for mutant in ALL_MUTANTS for edit in mutant.edits]
        found = [mismatch(mutant, edit, (ROOT / "confd" / edit.file).read_text("utf-8")) for mutant, edit in edits]
        self.assertEqual([each for each in found if each], [])

    def test_an_edit_of_missing_or_repeated_words_is_found(self) -> None:
        mutant, edit = evolve(MUTANTS[0], name="m"), Edit("a.py", "x", "y")
        self.assertEqual(mismatch(mutant, edit, "ax"), "")
        self.assertEqual(mismatch(mutant, edit, "xx"), "m: a.py holds 'x' 2 times")
        self.assertEqual(mismatch(mutant, edit, ""), "m: a.py holds 'x' 0 times")
