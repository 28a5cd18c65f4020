"""Who tried to change what: a chain in which each entry holds the hash of the one before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime

from attrs import asdict, define, evolve, field, frozen

#: How an attempt ended that changed what it was to change; any other ends in the code of its refusal.
DONE = "done"

#: What the first entry holds where the others hold a hash.
BEGINNING = ""

#: Of strings and small integers the standard library makes the canonical form (RFC 8785).
_CANONICAL = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


@frozen
class Attempt:
    """
    Somebody asks for a change.

    @ivar who: the identity, empty for one who proved none.
    @ivar peer: the address that the request came from.
    @ivar action: method and path as declared, C{POST /api/v1/config}.
    @ivar target: what it is about: the namespace, the agent's id.
    @ivar made_at: the wall clock at the door, UTC.
    """

    who: str
    peer: str
    action: str
    target: str
    request_id: str
    made_at: datetime


@frozen
class AuditOutcome:
    """
    What became of an attempt.

    @ivar outcome: L{DONE}, or the code of the refusal.
    @ivar detail: what it made, the tag for example; never what was sent.
    """

    attempt: Attempt
    outcome: str = DONE
    detail: str = ""


@frozen
class AuditEntry:
    """
    An attempt on record, as GET C{/api/v1/audit} tells it.

    @ivar number: counts 1, 2, 3 ... without gaps.
    @ivar at: RFC 3339 UTC.
    @ivar previous: the L{hash} of the entry before this one, L{BEGINNING} in the first.
    @ivar hash: hex SHA-256 of the canonical JSON (RFC 8785) of all the other fields.
    """

    number: int
    at: str
    who: str
    peer: str
    action: str
    target: str
    outcome: str
    detail: str
    request_id: str
    previous: str
    hash: str = ""

    @classmethod
    def following(cls, number: int, previous: str, at: str, ending: AuditOutcome) -> AuditEntry:
        """
        The entry after another one.

        @param number: of the one before, 0 where this is the first.
        @param previous: the hash of the one before.
        """
        attempt = ending.attempt
        entry = cls(
            number + 1,
            at,
            attempt.who,
            attempt.peer,
            attempt.action,
            attempt.target,
            ending.outcome,
            ending.detail,
            attempt.request_id,
            previous,
        )
        return evolve(entry, hash=entry.digest())

    def digest(self) -> str:
        """What L{hash} has to be."""
        told = asdict(self, recurse=False, filter=lambda attribute, _: attribute.name != "hash")
        return hashlib.sha256(_CANONICAL.encode(told).encode()).hexdigest()


@define(eq=False)
class Verification:
    """
    Walks along the chain, from either end, an entry at a time.

    Whoever can write to the database can also write it anew, hashes and all, or cut off its end. Only somebody who has
    noted the hash of an entry elsewhere can tell: L{newest} is what to note, C{noted} proves what was.

    @ivar noted: number and hash of an entry, as once noted.
    @ivar count: entries so far.
    @ivar newest: the one with the highest number so far.
    @ivar wrong: the lowest number that is missing, changed or out of place, C{None} while the chain holds.
    @ivar reason: one sentence that says what is wrong there.
    """

    noted: tuple[int, str] | None = None
    count: int = field(default=0, init=False)
    newest: AuditEntry | None = field(default=None, init=False)
    wrong: int | None = field(default=None, init=False)
    reason: str = field(default="", init=False)
    _last: AuditEntry | None = field(default=None, init=False)
    _oldest: AuditEntry | None = field(default=None, init=False)
    _met: bool = field(default=False, init=False)

    def take(self, entry: AuditEntry) -> None:
        """Look at the next entry: the one before or after the last."""
        if entry.hash != entry.digest():
            self._blame(entry.number, "was changed: its hash is that of something else")
        if self._last is not None:
            self._joined(*sorted((self._last, entry), key=lambda each: each.number))
        if self.noted is not None and entry.number == self.noted[0]:
            self._met = True
            if entry.hash != self.noted[1]:
                self._blame(entry.number, "is not the one whose hash was noted")
        self.count += 1
        self._last = entry
        if self.newest is None or entry.number > self.newest.number:
            self.newest = entry
        if self._oldest is None or entry.number < self._oldest.number:
            self._oldest = entry

    def end(self) -> Verification:
        """There are no more entries; what should have been there is missed now."""
        oldest = self._oldest
        if oldest is not None and oldest.number != 1:
            self._blame(1, "is missing")
        elif oldest is not None and oldest.previous != BEGINNING:
            self._blame(1, "does not begin the chain")
        if self.noted is not None and not self._met:
            self._blame(self.noted[0], "is missing, though its hash was noted")
        return self

    def _joined(self, older: AuditEntry, newer: AuditEntry) -> None:
        if newer.number == older.number:
            self._blame(newer.number, "is there twice")
        elif newer.number != older.number + 1:
            self._blame(older.number + 1, "is missing")
        elif newer.previous != older.hash:
            self._blame(newer.number, "does not follow from the one before it: one of the two was changed")

    def _blame(self, number: int, reason: str) -> None:
        if self.wrong is None or number < self.wrong:
            self.wrong, self.reason = number, f"Entry {number} {reason}."


def verify(entries: Iterable[AuditEntry], noted: tuple[int, str] | None = None) -> Verification:
    """
    Look at all entries that there are, newest or oldest first; only one at a time is kept in memory.

    @param noted: number and hash of an entry, as once noted.
    """
    verification = Verification(noted)
    for entry in entries:
        verification.take(entry)
    return verification.end()
