"""The audit on disk: committed with what it tells of or not at all, and not to be changed unnoticed."""

from __future__ import annotations

import sqlite3

from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.audit import AuditEntry, AuditOutcome, verify
from confd.controller.store.change_log import Written
from confd.controller.store.queries import audit, configs
from confd.controller.store.sqlite.connection import make_durable
from confd.controller.store.sqlite.engine import Work, commit_together
from confd.errors import Conflict
from confd.testing import a_draft, an_attempt
from tests.controller.store.fixtures import connect, ended, make_database, new_path, started


class DatabaseTests(SynchronousTestCase):
    """Works on one connection, what another one sees of them, and mischief on a third."""

    def setUp(self) -> None:
        path = new_path(self)
        make_database(path)
        self.connection, self.other, self.mischief = connect(self, path), connect(self, path), connect(self, path)
        make_durable(self.connection)

    def entries(self) -> list[AuditEntry]:
        """What is on record, oldest first."""
        return list(audit.page(self.other.cursor(), 1000, None))[::-1]

    def versions(self) -> list[int]:
        """What is in the history, newest first."""
        history = configs.history(self.other.cursor(), "default", 100, None)
        return [each.tag.version for each in history]

    def publish(self, number: int) -> Work[object]:
        """A work that publishes, and puts that on record."""
        draft = a_draft(number)
        return audit.audited(lambda cursor: configs.publish(cursor, draft), an_attempt(number), lambda _: "a tag")


class TogetherTests(DatabaseTests):
    """A change and its entry are one: kill -9 at any moment finds both or none."""

    def test_one_transaction(self) -> None:
        """Until the commit another connection sees neither, from then on both."""
        self.connection.execute("BEGIN IMMEDIATE")
        cursor = self.connection.cursor()
        audit.record(cursor, [self.publish(2)(cursor)])
        self.assertEqual((self.versions(), self.entries()), ([1], []))
        self.connection.execute("COMMIT")
        self.assertEqual((self.versions(), [each.detail for each in self.entries()]), ([2, 1], ["a tag"]))

    def test_one_commit(self) -> None:
        """However many changes: the entries cost no other one, and share a statement."""
        statements = list[str]()
        self.connection.set_trace_callback(statements.append)
        commit_together(self.connection, [self.publish(2), self.publish(3)])
        framing = [each for each in statements if each.startswith(("BEGIN", "COMMIT"))]
        self.assertEqual(framing, ["BEGIN IMMEDIATE", "COMMIT"])
        self.assertEqual(sum(each.startswith("SELECT number, hash FROM audit") for each in statements), 1)
        self.assertEqual(len(self.entries()), 2)

    def test_failure_after_the_entry(self) -> None:
        """It takes both back, and leaves the others of its group, and their chain, alone."""

        def fail_late(cursor: sqlite3.Cursor) -> None:
            self.publish(3)(cursor)
            raise Conflict("too_late", "No.")

        _, failed, _ = commit_together(self.connection, [self.publish(2), fail_late, self.publish(4)])
        self.assertIsInstance(failed, Conflict)
        self.assertEqual(self.versions(), [3, 2, 1])
        self.assertEqual([each.request_id for each in self.entries()], ["request-2", "request-4"])
        self.assertIsNone(verify(self.entries()).wrong)

    def test_entry_that_cannot_be_written(self) -> None:
        """It takes the change with it."""

        def broken(_: object) -> str:
            raise ValueError("no detail")

        draft = a_draft(2)
        work = audit.audited(lambda cursor: configs.publish(cursor, draft), an_attempt(), broken)
        [outcome] = commit_together(self.connection, [work])
        self.assertIsInstance(outcome, ValueError)
        self.assertEqual((self.versions(), self.entries()), ([1], []))

    def test_nobody_asked(self) -> None:
        work = audit.audited(lambda cursor: configs.publish(cursor, a_draft(2)), None, lambda _: "")
        commit_together(self.connection, [work])
        self.assertEqual((self.versions(), self.entries()), ([2, 1], []))


#: The table, with the columns that the test fills.
COLUMNS = "audit (number, at, who, peer, action, target, outcome, detail, request_id, previous, hash)"


class MischiefTests(DatabaseTests):
    """What somebody can do to the file by hand."""

    def setUp(self) -> None:
        super().setUp()
        endings = [AuditOutcome(an_attempt(number), "forbidden") for number in range(1, 8)]
        commit_together(self.connection, [lambda _: Written(None, audited=endings)])

    def disarm(self) -> None:
        """Take the triggers away first."""
        for trigger in ("audit_only_grows", "audit_never_changes", "audit_never_goes"):
            self.mischief.execute(f"DROP TRIGGER {trigger}")

    def assert_wrong(self, number: int) -> None:
        """That reading it from either end names this entry."""
        for order in (self.entries(), self.entries()[::-1]):
            self.assertEqual(verify(order).wrong, number)

    def test_whole(self) -> None:
        verification = verify(self.entries())
        self.assertEqual((verification.count, verification.wrong), (7, None))

    def test_only_the_next_one_is_taken(self) -> None:
        """Updates, deletions, and anything but the next entry of the chain are refused by the database itself."""
        row = "'then', 'who', 'peer', 'action', 'target', 'done', '', 'id'"
        hashes = [each.hash for each in self.entries()]
        for statement in (
            "UPDATE audit SET who = 'x' WHERE number = 3",
            "DELETE FROM audit WHERE number = 7",
            "DELETE FROM audit",
            f"INSERT INTO {COLUMNS} VALUES (9, {row}, '{hashes[-1]}', 'h')",
            f"INSERT INTO {COLUMNS} VALUES (0, {row}, '{hashes[-1]}', 'h')",
            f"INSERT INTO {COLUMNS} VALUES (8, {row}, '{hashes[0]}', 'h')",
            f"INSERT INTO {COLUMNS} VALUES (8, {row}, '', 'h')",
            f"INSERT OR REPLACE INTO {COLUMNS} VALUES (3, {row}, '{hashes[1]}', 'h')",
            f"INSERT OR REPLACE INTO {COLUMNS} VALUES (7, {row}, '{hashes[5]}', 'h')",
        ):
            self.assertRaises(sqlite3.IntegrityError, self.mischief.execute, statement)
        self.assertEqual([each.hash for each in self.entries()], hashes)

    def test_edited(self) -> None:
        self.disarm()
        self.mischief.execute("UPDATE audit SET outcome = 'done' WHERE number = 3")
        self.assert_wrong(3)

    def test_deleted(self) -> None:
        self.disarm()
        self.mischief.execute("DELETE FROM audit WHERE number = 4")
        self.assert_wrong(4)

    def test_swapped(self) -> None:
        self.disarm()
        for change in ("number = -2 WHERE number = 2", "number = 2 WHERE number = 5", "number = 5 WHERE number = -2"):
            self.mischief.execute(f"UPDATE audit SET {change}")
        self.assert_wrong(2)

    def test_forged(self) -> None:
        """The database takes one that is chained; its own hash is what it cannot have."""
        last = self.entries()[-1].hash
        row = f"8, 'then', 'who', 'peer', 'action', 'target', 'done', '', 'id', '{last}', 'h'"
        self.mischief.execute(f"INSERT INTO {COLUMNS} VALUES ({row})")
        self.assert_wrong(8)

    def test_other_types(self) -> None:
        """What is no text any more is no reason to stumble."""
        self.disarm()
        self.mischief.execute("UPDATE audit SET detail = 7.5, who = 0 WHERE number = 3")
        self.assert_wrong(3)


class RestartTests(TestCase):
    """The chain goes on over a restart."""

    async def test_goes_on(self) -> None:
        path = new_path(self)
        for number in (1, 2):
            store = started(self, path)
            await store.publish(a_draft(number, attempt=an_attempt(number)))
            entries = await store.audit(10, None)
            self.assertEqual((len(entries), verify(entries).wrong), (number, None))
            await ended(store)
