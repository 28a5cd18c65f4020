"""What the set knows of one output during an apply, and the sentences about a roll-back."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define

from confd.errors import ConfdError
from confd.interfaces import IOutput, IStagedChange


@define(eq=False)
class Staged:
    """One output and its staged change during an apply."""

    output: IOutput
    change: IStagedChange
    committed: bool = False

    @property
    def replaced(self) -> bool:
        """Whether the commit replaced content that a roll-back puts back."""
        return bool(getattr(self.change, "replaced", True))


def replaced_by(works: Sequence[Staged]) -> bool:
    """Return whether a roll-back of these changes puts content back."""
    return any(work.replaced for work in works)


def second_failure(works: Sequence[Staged], error: ConfdError) -> str:
    """Return the sentence for a reload that failed after a roll-back."""
    if replaced_by(works):
        return f"The previous file is back, but its reload failed too: {error.message}"
    return f"The reload after the roll-back failed too: {error.message}"


def ended(sentence: str) -> str:
    """Return a sentence that another one can follow; it can end with the words of a program."""
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
