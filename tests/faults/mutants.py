"""
Tests that cannot fail show nothing: builds that are broken on purpose, and whether anything notices.

Each is a change of a few words, made in a copy of the project and never in the project itself. Run it with C{make
test-mutants}, or C{python -m tests.faults.mutants}: it prints who was caught, and exits with 1 if one survived.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.access_mutations import ACCESS_MUTANTS
from tests.faults.change_mutations import CHANGE_MUTANTS
from tests.faults.database_mutations import DATABASE_MUTANTS
from tests.faults.messaging_mutations import MESSAGING_MUTANTS
from tests.faults.mutations import MUTANTS, Edit, Mutant
from tests.faults.operations_mutations import OPERATIONS_MUTANTS
from tests.faults.output_mutations import OUTPUT_MUTANTS
from tests.faults.rollout_mutations import ROLLOUT_MUTANTS

ROOT = Path(__file__).resolve().parents[2]

ALL_MUTANTS = (
    *MUTANTS,
    *OUTPUT_MUTANTS,
    *ACCESS_MUTANTS,
    *CHANGE_MUTANTS,
    *ROLLOUT_MUTANTS,
    *OPERATIONS_MUTANTS,
    *MESSAGING_MUTANTS,
    *DATABASE_MUTANTS,
)


#: Seconds that the tests of one mutant get: one that hangs is caught.
MOST = 240


@contextmanager
def copy() -> Iterator[Path]:
    """A copy of the project, to be broken."""
    with tempfile.TemporaryDirectory(prefix="confd-mutants-") as scratch:
        place = Path(scratch) / "project"
        ignored = shutil.ignore_patterns("__pycache__", "_trial_temp*", ".venv", ".git", ".mypy_cache", ".ruff_cache")
        shutil.copytree(ROOT, place, ignore=ignored)
        yield place


def mismatch(mutant: Mutant, edit: Edit, text: str) -> str:
    """Return what is wrong with an edit of a file that holds C{text}; empty if the edit fits."""
    count = text.count(edit.old)
    return "" if count == 1 else f"{mutant.name}: {edit.file} holds {edit.old!r} {count} times"


@contextmanager
def applied(place: Path, mutant: Mutant) -> Iterator[None]:
    """
    The copy is this mutant.

    @raise SystemExit: the words that it replaces are not there any more.
    """
    before: dict[Path, str] = {}
    try:
        for edit in mutant.edits:
            path = place / "confd" / edit.file
            text = path.read_text()
            if text.count(edit.old) != 1:
                raise SystemExit(mismatch(mutant, edit, text))
            before.setdefault(path, text)
            path.write_text(text.replace(edit.old, edit.new))
        yield
    finally:
        for path, text in before.items():
            path.write_text(text)


def run(place: Path, *command: str) -> bool:
    """Whether a command is content with the copy; one that hangs is not."""
    environ = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    environ |= {"HYPOTHESIS_STORAGE_DIRECTORY": str(place.parent / "hypothesis"), "TMPDIR": str(place.parent)}
    child = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=place, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        return child.wait(MOST) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        # A test that hangs ends its own processes when it is asked to.
        if child.poll() is None:
            child.terminate()
            child.wait(30)


def tested(place: Path, tests: tuple[str, ...]) -> bool:
    """Whether tests are green."""
    return run(place, "twisted.trial", f"--temp-directory={place.parent / 'trial'}", *tests)


def judged(place: Path, mutant: Mutant, rows: bool) -> dict[str, bool]:
    """
    Who was asked, and whether it was caught.

    @param rows: whether rows of the fault suite are asked where tests know already.
    """
    verdicts = {"tests": not tested(place, mutant.tests)} if mutant.tests else {}
    if mutant.rows and (rows or not mutant.tests):
        verdicts[mutant.rows] = not run(place, "tests.faults", "--rows", mutant.rows, "--rounds", "0.1", "--slack", "3")
    return verdicts


def main() -> int:
    """The command line; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", action="store_true", help="let the rows of the fault suite judge, too")
    parser.add_argument("--only", default="", help="those whose names hold this")
    options = parser.parse_args()
    chosen = [each for each in ALL_MUTANTS if options.only in each.name]
    caught = 0
    with copy() as place:
        needed = tuple(sorted({test for each in chosen for test in each.tests}))
        if not tested(place, needed):
            print("the tests are red without any mutant", file=sys.stderr)
            return 1
        print(f"{'mutant':55} {'judged by':40} {'s':>5}")
        for mutant in chosen:
            began = time.monotonic()
            with applied(place, mutant):
                verdicts = judged(place, mutant, options.rows)
            caught += all(verdicts.values())
            judgement = ", ".join(f"{judge} {'caught' if good else 'SURVIVED'}" for judge, good in verdicts.items())
            print(f"{mutant.name:55} {judgement:40} {time.monotonic() - began:5.1f}", flush=True)
    print(f"{caught} of {len(chosen)} caught")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
