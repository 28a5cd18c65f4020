"""A copy of the audit log outside the controller: the entries of the controller must be the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from attrs import define, field

from confd.audit import AuditEntry
from confd.cli.errors import CommandError, Exit
from confd.codec.text import printable

_CHANGED = "the database of the controller was changed, or restored from a backup."

#: What the decoder says of the beginning of a JSON object.
_CUT = "Input data was truncated"


@define(eq=False)
class AuditExport:
    """
    The hashes of exported entries. The hash covers all other fields, so equal hashes prove equal entries.

    @ivar hashes: by number.
    @ivar differing: numbers of entries that the controller has with another hash, after L{watch}.
    """

    hashes: dict[int, str]
    differing: list[int] = field(factory=list, init=False)
    _missing: set[int] = field(init=False)

    @_missing.default
    def _all(self) -> set[int]:
        return set(self.hashes)

    @classmethod
    def read(cls, lines: Iterable[bytes], name: str) -> AuditExport:
        """
        Read an export: one entry a line, as in GET C{/api/v1/audit}. Entries may be repeated, and in any order.

        A line that a crash or a full disk cut counts for nothing: its entry follows as a whole line, or is missing.

        @param name: of the file, for sentences.
        @raise CommandError: a line is no entry, or the entries are no chain.
        """
        hashes: dict[int, str] = {}
        previous: dict[int, str] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = msgspec.json.decode(line.strip(), type=AuditEntry)
            except (msgspec.DecodeError, ValueError) as error:
                if str(error) == _CUT and line.startswith(b"{"):
                    continue
                sentence = f"{printable(name)}, line {number}: this is not an audit entry."
                raise CommandError(Exit.INVALID, sentence) from None
            if entry.hash != entry.digest() or hashes.setdefault(entry.number, entry.hash) != entry.hash:
                raise _damaged(entry.number)
            previous[entry.number] = entry.previous
        if not hashes:
            raise CommandError(Exit.INVALID, f"{printable(name)} has no audit entry.")
        for number in range(min(hashes) + 1, max(hashes) + 1):
            if previous.get(number) != hashes.get(number - 1) or number not in hashes:
                raise _damaged(number)
        return cls(hashes)

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and the highest number."""
        return min(self.hashes), max(self.hashes)

    def watch(self, entries: Iterable[AuditEntry]) -> Iterator[AuditEntry]:
        """Pass on the entries of the controller, and compare each with the export."""
        for entry in entries:
            if self.hashes.get(entry.number, entry.hash) != entry.hash:
                self.differing.append(entry.number)
            self._missing.discard(entry.number)
            yield entry

    def finding(self) -> str | None:
        """Return a sentence about the first entry that proves a change; C{None} after a watch that found none."""
        found = {number: f"Entry {number} differs from the export: {_CHANGED}" for number in self.differing}
        for number in sorted(self._missing)[:1]:
            found[number] = f"Entry {number} is in the export and not at the controller: {_CHANGED}"
        return found[min(found)] if found else None


def _damaged(number: int) -> CommandError:
    return CommandError(Exit.UNSOUND, f"The export is damaged at entry {number}.")
