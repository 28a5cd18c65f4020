"""The chain: what breaks it, and where it says that it is broken."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.audit import BEGINNING, Attempt, AuditEntry, AuditOutcome, verify
from confd.codec import strict_json
from confd.testing import an_attempt

#: What an entry may hold: any text that has an encoding.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def chain(count: int, **changes: Any) -> list[AuditEntry]:
    """So many entries, oldest first."""
    entries: list[AuditEntry] = []
    for number in range(count):
        previous = entries[-1].hash if entries else BEGINNING
        ending = AuditOutcome(an_attempt(number, **changes), "done", f"tag {number}")
        entries.append(AuditEntry.following(number, previous, "2026-11-24T12:00:00.000Z", ending))
    return entries


class DigestTests(SynchronousTestCase):
    """The hash of one entry."""

    @given(st.builds(AuditEntry, st.integers(1, 2**53 - 1), *[TEXT] * 12))
    def test_the_digest_is_that_of_the_canonical_json(self, entry: AuditEntry) -> None:
        members = msgspec.to_builtins(entry)
        del members["hash"]
        if not (entry.namespace or entry.subject):
            # As in earlier releases, whose entries have neither.
            del members["namespace"], members["subject"]
        self.assertEqual(f"sha256:{entry.digest()}", strict_json.checksum(members))

    def test_a_change_of_any_field_changes_the_digest(self) -> None:
        [entry] = chain(1)
        for name in set(msgspec.to_builtins(entry)) - {"hash"}:
            changed = evolve(entry, **{name: 9 if name == "number" else "changed"})
            self.assertNotEqual(changed.digest(), entry.digest(), name)

    def test_says_who_asked_for_what(self) -> None:
        attempt: Attempt = an_attempt(7, who="ann", target="b")
        entry = AuditEntry.following(4, "abc", "then", AuditOutcome(attempt, "forbidden", "why"))
        self.assertEqual((entry.number, entry.previous, entry.at), (5, "abc", "then"))
        self.assertEqual((entry.who, entry.peer, entry.action), ("ann", attempt.peer, attempt.action))
        self.assertEqual((entry.target, entry.request_id), ("b", "request-7"))
        self.assertEqual((entry.outcome, entry.detail), ("forbidden", "why"))

    def test_an_entry_reads_back_from_json_with_its_hash(self) -> None:
        entries = chain(3)
        self.assertEqual(msgspec.json.decode(msgspec.json.encode(entries), type=list[AuditEntry]), entries)


class VerifyTests(SynchronousTestCase):
    """L{verify}, from either end."""

    def assert_wrong(
        self, entries: list[AuditEntry], number: int, said: str, noted: tuple[int, str] | None = None
    ) -> None:
        for order in (entries, entries[::-1]):
            verification = verify(iter(order), noted)
            self.assertEqual(verification.wrong, number, verification.reason)
            self.assertTrue(verification.reason.startswith(f"Entry {number} "), verification.reason)
            self.assertIn(said, verification.reason)

    def test_an_intact_chain_is_verified(self) -> None:
        for count in (1, 2, 50):
            entries = chain(count)
            for order in (entries, entries[::-1]):
                verification = verify(order, (count, entries[-1].hash))
                self.assertEqual((verification.wrong, verification.reason), (None, ""))
                self.assertEqual((verification.count, verification.newest), (count, entries[-1]))

    def test_an_empty_chain_is_verified(self) -> None:
        verification = verify([])
        self.assertEqual((verification.count, verification.newest, verification.wrong), (0, None, None))
        self.assert_wrong([], 3, "missing", (3, "abc"))

    def test_an_edited_entry_is_found(self) -> None:
        for place in (0, 4, 9):
            entries = chain(10)
            entries[place] = evolve(entries[place], who="somebody else")
            self.assert_wrong(entries, place + 1, "was changed")

    def test_an_entry_edited_with_its_hash_is_found_by_the_next(self) -> None:
        entries = chain(10)
        edited = evolve(entries[4], who="somebody else")
        entries[4] = evolve(edited, hash=edited.digest())
        self.assert_wrong(entries, 6, "does not follow")

    def test_a_missing_entry_is_found(self) -> None:
        for place in (0, 4):
            entries = chain(10)
            del entries[place]
            self.assert_wrong(entries, place + 1, "is missing")

    def test_two_swapped_entries_are_found(self) -> None:
        entries = chain(10)
        first, second = entries[3], entries[6]
        entries[3], entries[6] = evolve(second, number=4), evolve(first, number=7)
        self.assert_wrong(entries, 4, "was changed")

    def test_a_repeated_entry_is_found(self) -> None:
        entries = chain(5)
        self.assert_wrong([*entries[:3], *entries[2:]], 3, "is present twice")

    def test_a_forged_entry_at_the_end_is_found(self) -> None:
        entries = chain(5)
        for forged in (
            evolve(entries[-1], number=6, who="nobody"),
            evolve(entries[-1], number=6, previous=entries[-1].hash),
            AuditEntry.following(5, "0" * 64, "then", AuditOutcome(an_attempt())),
        ):
            self.assert_wrong([*entries, forged], 6, "Entry 6")

    def test_a_chain_without_its_beginning_is_found(self) -> None:
        entry = AuditEntry.following(0, "0" * 64, "then", AuditOutcome(an_attempt()))
        self.assert_wrong([entry], 1, "does not begin the chain")

    def test_a_checkpoint_reveals_a_rewritten_chain_and_a_missing_end(self) -> None:
        entries = chain(10)
        noted = (10, entries[-1].hash)
        self.assertIsNone(verify(entries[:8]).wrong)
        self.assert_wrong(entries[:8], 10, "is missing, and is the checkpoint", noted)
        anew = chain(12, who="somebody else")
        self.assertIsNone(verify(anew).wrong)
        self.assert_wrong(anew, 10, "does not match the checkpoint", noted)

    @given(st.data())
    def test_any_change_in_one_place_is_found_there_or_in_the_next_entry(self, data: st.DataObject) -> None:
        entries = chain(8)
        place = data.draw(st.integers(0, 7))
        name = data.draw(st.sampled_from(["at", "who", "peer", "action", "target", "outcome", "detail", "request_id"]))
        text = data.draw(TEXT.filter(lambda text: text != getattr(entries[place], name)))
        edited = evolve(entries[place], **{name: text})
        resealed = data.draw(st.booleans()) and place < 7
        entries[place] = evolve(edited, hash=edited.digest()) if resealed else edited
        for order in (entries, entries[::-1]):
            self.assertEqual(verify(order).wrong, place + (2 if resealed else 1))
