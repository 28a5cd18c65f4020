"""The audit log: attempts to change something, in a chain of hashes that proves its integrity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

import msgspec
from attrs import define, field, fields, frozen

#: Outcome of a successful attempt. The outcome of a refused attempt is the code of its error.
DONE = "done"

#: Action of a backup, and the outcome of a backup that its reader did not take to the end.
BACKUP, CUT_OFF = "GET /api/v1/backup", "cut_off"

#: The first word of the action of an attempt that was to pass a policy; the detail ends with the reason.
BREAK_GLASS = "break-glass"

#: The value of C{previous} in the first entry, which has no predecessor.
BEGINNING = ""


@frozen
class Attempt:
    """
    An attempt to change something.

    @ivar who: the identity; empty without valid credentials.
    @ivar peer: address of the client.
    @ivar action: method and path template, such as C{POST /api/v1/config}.
    @ivar target: the namespace or the agent id to change.
    @ivar made_at: UTC time of arrival.
    @ivar namespace: the namespace that the attempt acts in; empty for the cluster.
    @ivar subject: the person or team that answers for the identity.
    @ivar break_glass: why the attempt is to pass the policy and the freezes of a namespace; empty where it is not to.
    """

    who: str
    peer: str
    action: str
    target: str
    request_id: str
    made_at: datetime
    namespace: str = ""
    subject: str = ""
    break_glass: str = ""


@frozen
class AuditOutcome:
    """
    The outcome of an attempt.

    @ivar outcome: L{DONE}, or the code of the error.
    @ivar detail: the result, such as a tag; never the content of the request.
    """

    attempt: Attempt
    outcome: str = DONE
    detail: str = ""


@frozen
class AuditEntry:
    """
    A recorded attempt, as in GET C{/api/v1/audit}.

    @ivar number: 1, 2, 3 ... without gaps.
    @ivar at: RFC 3339 time in UTC.
    @ivar previous: L{hash} of the previous entry; L{BEGINNING} in the first.
    @ivar hash: hex SHA-256 of the canonical JSON (RFC 8785) of all other fields. Entries of earlier releases have
        neither a namespace nor a subject, and their hashes do not include these fields.
    @ivar namespace: see L{Attempt}.
    @ivar subject: see L{Attempt}.
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
    namespace: str = ""
    subject: str = ""

    @classmethod
    def following(cls, number: int, previous: str, at: str, outcome: AuditOutcome) -> AuditEntry:
        """
        Return the entry that follows another one.

        @param number: number of the previous entry; 0 before the first.
        @param previous: hash of the previous entry.
        """
        attempt, detail = outcome.attempt, outcome.detail
        action = attempt.action
        if attempt.break_glass:
            action = f"{BREAK_GLASS} {action}"
            detail = f"{detail}: {attempt.break_glass}" if detail else attempt.break_glass
        values = (
            number + 1,
            at,
            attempt.who,
            attempt.peer,
            action,
            attempt.target,
            outcome.outcome,
            detail,
            attempt.request_id,
            previous,
        )
        about = attempt.namespace, attempt.subject
        return cls(*values, _digest((*values, *about)), *about)

    @classmethod
    def parse(cls, line: bytes) -> AuditEntry | None:
        """Return the entry of a line of an export; C{None} unless it is whole and unchanged."""
        try:
            entry = msgspec.json.decode(line, type=cls)
        except (msgspec.DecodeError, ValueError):
            return None
        return entry if entry.hash == entry.digest() else None

    def line(self) -> bytes:
        """Return the line of an export, without its end."""
        return msgspec.json.encode(self)

    def digest(self) -> str:
        """Return the value that L{hash} must have."""
        return _digest([getattr(self, name) for name in _HASHED])


#: The fields that the hash of an entry covers, in their order.
_HASHED = tuple(each.name for each in fields(AuditEntry) if each.name != "hash")


def _digest(values: Iterable[int | str]) -> str:
    hashed = dict(zip(_HASHED, values, strict=True))
    if not (hashed["namespace"] or hashed["subject"]):
        # As in earlier releases, whose entries have neither.
        del hashed["namespace"], hashed["subject"]
    # For strings, small integers and names in ASCII, the sorted output of msgspec is canonical (RFC 8785).
    return hashlib.sha256(msgspec.json.encode(hashed, order="sorted")).hexdigest()


@define(eq=False)
class Verification:
    """
    Verify the chain one entry at a time, from either end.

    A person with write access to the database can rewrite the whole chain with new hashes, or remove its end. Only a
    checkpoint, the number and hash of an entry recorded elsewhere, reveals that: record L{newest}, and pass it as
    C{checkpoint} later.

    @ivar checkpoint: number and hash of an entry, as recorded elsewhere.
    @ivar count: entries so far.
    @ivar newest: the entry with the highest number so far.
    @ivar wrong: lowest number that is missing, changed or out of order; C{None} while the chain is intact.
    @ivar reason: one sentence about the entry with that number.
    """

    checkpoint: tuple[int, str] | None = None
    count: int = field(default=0, init=False)
    newest: AuditEntry | None = field(default=None, init=False)
    wrong: int | None = field(default=None, init=False)
    reason: str = field(default="", init=False)
    _last: AuditEntry | None = field(default=None, init=False)
    _oldest: AuditEntry | None = field(default=None, init=False)
    _checkpoint_seen: bool = field(default=False, init=False)

    def take(self, entry: AuditEntry) -> None:
        """Verify the next entry in either direction."""
        if entry.hash != entry.digest():
            self._report(entry.number, "was changed: its hash does not match its content")
        if self._last is not None:
            self._check_link(*sorted((self._last, entry), key=lambda each: each.number))
        if self.checkpoint is not None and entry.number == self.checkpoint[0]:
            self._checkpoint_seen = True
            if entry.hash != self.checkpoint[1]:
                self._report(entry.number, "does not match the checkpoint")
        self.count += 1
        self._last = entry
        if self.newest is None or entry.number > self.newest.number:
            self.newest = entry
        if self._oldest is None or entry.number < self._oldest.number:
            self._oldest = entry

    def end(self) -> Verification:
        """Verify that no entry is missing at the end; return this object."""
        oldest = self._oldest
        if oldest is not None and oldest.number != 1:
            self._report(1, "is missing")
        elif oldest is not None and oldest.previous != BEGINNING:
            self._report(1, "does not begin the chain")
        if self.checkpoint is not None and not self._checkpoint_seen:
            self._report(self.checkpoint[0], "is missing, and is the checkpoint")
        return self

    def _check_link(self, older: AuditEntry, newer: AuditEntry) -> None:
        if newer.number == older.number:
            self._report(newer.number, "is present twice")
        elif newer.number != older.number + 1:
            self._report(older.number + 1, "is missing")
        elif newer.previous != older.hash:
            self._report(newer.number, "does not follow from the previous entry: one of the two was changed")

    def _report(self, number: int, reason: str) -> None:
        if self.wrong is None or number < self.wrong:
            self.wrong, self.reason = number, f"Entry {number} {reason}."


def verify(entries: Iterable[AuditEntry], checkpoint: tuple[int, str] | None = None) -> Verification:
    """
    Verify all entries, newest or oldest first, with only one in memory at a time.

    @param checkpoint: number and hash of an entry, as recorded elsewhere.
    """
    verification = Verification(checkpoint)
    for entry in entries:
        verification.take(entry)
    return verification.end()
