"""Revisions in SQL: nothing changes them, keys are pruned, and any course of events ends as in memory."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from copy import deepcopy
from functools import partial
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from confd.changes import IdentityRecord
from confd.controller.store.change_log import Written
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.queries import configs, epoch, pruning
from confd.controller.store.sqlite.bootstrap import open_database
from confd.controller.store.sqlite.connection import connect_arguments
from confd.controller.store.sqlite.engine import commit_together
from confd.errors import ConfdError
from confd.history import EpochChange
from confd.model import Draft, Revision
from confd.testing import MemoryStore, a_draft, an_epoch_change
from tests.budgets import budget
from tests.controller.store.fixtures import FIRST, connect, make_database, new_path


class SchemaTests(SynchronousTestCase):
    """What the schema sees to."""

    def setUp(self) -> None:
        path = new_path(self)
        make_database(path)
        self.connection = connect(self, path)
        self.cursor = self.connection.cursor()

    def test_revision_never_changes(self) -> None:
        for statement in ("UPDATE revisions SET document = '{}'", "DELETE FROM revisions"):
            self.assertRaises(sqlite3.IntegrityError, self.cursor.execute, statement)

    def test_history_reads_no_document(self) -> None:
        """A row is read past a large document only by reading all of it: the index holds the rest."""
        plans: list[str] = []
        for read in (
            lambda: configs.history(self.cursor, "default", 50, None),
            lambda: configs.history(self.cursor, "default", 50, 7),
        ):
            statements: list[str] = []
            self.connection.set_trace_callback(statements.append)
            read()
            self.connection.set_trace_callback(None)
            (plan,) = [
                row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statements[0]}") if " r " in row[3]
            ]
            plans.append(plan)
        for plan in plans:
            self.assertIn("SEARCH r USING COVERING INDEX revisions_listed", plan)

    def test_newest_keys_are_kept(self) -> None:
        first = configs.publish(self.cursor, a_draft(2, idempotency_key="first")).value
        self.cursor.executemany(
            "INSERT INTO idempotency_keys (namespace, key, fingerprint, version) VALUES ('default', ?, '', 2)",
            [(f"k{number}",) for number in range(configs.KEYS_KEPT - 1)],
        )
        self.assertEqual(configs.publish(self.cursor, a_draft(2, idempotency_key="first")), Written(first))
        configs.publish(self.cursor, a_draft(3, idempotency_key="last"))
        self.cursor.execute("SELECT key FROM idempotency_keys ORDER BY id")
        kept = [key for (key,) in self.cursor]
        self.assertEqual((len(kept), kept[0], kept[-1]), (configs.KEYS_KEPT, "k0", "last"))

    def test_long_history_is_searched_by_index(self) -> None:
        plans: list[str] = []
        for read in (
            lambda: configs.current(self.cursor),
            lambda: configs.history(self.cursor, "default", 50, None),
            lambda: configs.revision(self.cursor, "default", 1),
            lambda: configs.publish(self.cursor, a_draft(2)),
        ):
            statements: list[str] = []
            self.connection.set_trace_callback(statements.append)
            read()
            self.connection.set_trace_callback(None)
            for statement in statements:
                if statement.lstrip().startswith("SELECT") and "revisions" in statement and "RAISE" not in statement:
                    plans += [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        self.assertTrue(any("SEARCH r USING INDEX" in plan for plan in plans), plans)
        self.assertEqual([plan for plan in plans if plan.startswith(("SCAN r", "USE TEMP"))], [])


def outcome(work: Callable[[], Any]) -> Any:
    """What came of it, an error by its class and code."""
    try:
        return work()
    except ConfdError as error:
        return type(error), error.code


def fired(answer: Deferred[Any]) -> Any:
    """What a L{Deferred} of the L{MemoryStore} fired with."""
    results: list[Any] = []
    failures: list[Any] = []
    answer.addCallbacks(results.append, failures.append)
    for failure in failures:
        failure.raiseException()
    return results[0]


def by_namespace(revisions: Sequence[Revision]) -> dict[str, Revision]:
    return {each.configuration.namespace: each for each in revisions}


_NAMESPACES = st.sampled_from(["default", "b", "c"])
_DRAFTS = st.builds(
    a_draft,
    st.integers(0, 2),
    namespace=_NAMESPACES,
    poll_interval=st.sampled_from([None, 5, 60]),
    comment=st.sampled_from(["", "why", "ü"]),
    rollback_of=st.sampled_from([None, 1]),
    idempotency_key=st.sampled_from([None, None, "k", "l"]),
)


#: How many revisions the machine keeps, and what it may be set to at a restart.
_KEEPS = st.sampled_from([0, 0, 1, 2, 5])

_CLUSTERS = ("9b9b9b9b-5e6f-4a7b-8c9d-0e1f2a3b4c5d", "8a8a8a8a-5e6f-4a7b-8c9d-0e1f2a3b4c5d")


class SameAsInMemory(RuleBasedStateMachine):
    """
    A database and a L{MemoryStore} to which the same things happen: to the database a loss and a restore, too.

    @ivar named: the document that each tag ever named, whatever was lost since.
    @ivar highest: the highest epoch that agents have heard of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(dir=os.getcwd())
        self.path = os.path.join(self.folder, "controller.db")
        self.keep = 0
        self.memory = MemoryStore(FIRST, self.open())
        self.backup: tuple[bytes, bytes, MemoryStore] | None = None
        self.named: dict[str, str] = {}
        self.highest = 1

    def open(self) -> str:
        opened = open_database(self.path, FIRST, shipped_migrations())
        self.identity_file = opened.identity_file
        uri, arguments = connect_arguments(self.path, 0)
        self.connection = sqlite3.connect(uri, **arguments)
        return opened.cluster_id

    def close(self) -> None:
        """As the end of a process does; what is in the log of the database is in the database then."""
        self.connection.close()
        self.identity_file.release()

    @property
    def identity(self) -> IdentityRecord:
        """As the memory store has it."""
        found: IdentityRecord = fired(self.memory.contents()).identity
        return found

    def teardown(self) -> None:
        self.close()
        shutil.rmtree(self.folder)

    def write(self, work: Callable[[sqlite3.Cursor], Any]) -> Any:
        (done,) = commit_together(self.connection, [work])
        if isinstance(done, ConfdError):
            return type(done), done.code
        return done.value if isinstance(done, Written) else done

    def read(self, work: Callable[[sqlite3.Cursor], Any]) -> Any:
        with closing(self.connection.cursor()) as cursor:
            return outcome(lambda: work(cursor))

    def publish(self, draft: Draft) -> None:
        done = self.write(lambda cursor: configs.publish(cursor, draft, self.keep))
        assert done == outcome(lambda: fired(self.memory.publish(draft)).value)

    def begin_epoch(self, change: EpochChange) -> None:
        marked = self.identity_file.write
        done = self.write(lambda cursor: epoch.begin_epoch(cursor, change, self.keep, marked))
        expected = outcome(lambda: fired(self.memory.begin_epoch(change)).value)
        if isinstance(expected, tuple):
            assert done == expected
            return
        self.highest = max(self.highest, change.epoch)
        assert by_namespace(done) == by_namespace(expected)

    @rule(draft=_DRAFTS)
    def publish_anyhow(self, draft: Draft) -> None:
        self.publish(draft)

    @rule(draft=_DRAFTS, version=st.integers(1, 8), wildcard=st.booleans())
    def publish_if_expected(self, draft: Draft, version: int, wildcard: bool) -> None:
        tags = frozenset({"*" if wildcard else f"{self.identity.cluster_id[:8]}.1.{version}"})
        self.publish(a_draft(namespace=draft.namespace, document=draft.document, expected=tags))

    @rule(namespace=_NAMESPACES, version=st.integers(1, 12))
    def roll_back(self, namespace: str, version: int) -> None:
        past = self.read(lambda cursor: configs.revision(cursor, namespace, version))
        if not isinstance(past, tuple):
            self.publish(a_draft(namespace=namespace, document=past.configuration.document, rollback_of=version))

    @rule(draft=_DRAFTS)
    def create(self, draft: Draft) -> None:
        done = self.write(lambda cursor: configs.create_namespace(cursor, draft))
        assert done == outcome(lambda: fired(self.memory.create_namespace(draft)).value)

    @rule(name=st.sampled_from(["b", "c", "no"]))
    def retire(self, name: str) -> None:
        done = self.write(lambda cursor: configs.retire_namespace(cursor, name))
        assert done == outcome(lambda: fired(self.memory.retire_namespace(name)).value)

    @rule(more=st.integers(-1, 2))
    def raise_epoch(self, more: int) -> None:
        self.begin_epoch(an_epoch_change(self.identity.epoch + more))

    @rule(more=st.integers(0, 2), cluster_id=st.sampled_from(_CLUSTERS))
    def adopt(self, more: int, cluster_id: str) -> None:
        self.begin_epoch(an_epoch_change(self.identity.epoch + more, cluster_id=cluster_id))

    @rule(namespace=_NAMESPACES, limit=st.integers(1, 5), before=st.none() | st.integers(0, 8))
    def history(self, namespace: str, limit: int, before: int | None) -> None:
        found = self.read(lambda cursor: configs.history(cursor, namespace, limit, before))
        assert found == fired(self.memory.history(namespace, limit, before))

    @rule(namespace=_NAMESPACES, version=st.integers(0, 8))
    def revision(self, namespace: str, version: int) -> None:
        found = self.read(lambda cursor: configs.revision(cursor, namespace, version))
        assert found == outcome(lambda: fired(self.memory.revision(namespace, version)))

    @rule(keep=_KEEPS)
    def reopen(self, keep: int) -> None:
        """A restart, which may be asked to keep more or less than the process before."""
        self.close()
        assert self.open() == self.identity.cluster_id
        self.keep = keep
        self.memory.set_keep(keep)
        self.write(lambda cursor: pruning.sweep(cursor, keep))

    @rule()
    def back_up(self) -> None:
        self.close()
        self.backup = (self.bytes_of(self.path), self.bytes_of(f"{self.path}.id"), deepcopy(self.memory))
        self.open()

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        """All that came after the backup is lost, and the operator raises the epoch above all that agents know."""
        assert self.backup is not None
        self.close()
        database, identity_file, memory = self.backup
        for path, content in ((self.path, database), (f"{self.path}.id", identity_file)):
            with open(path, "wb") as file:
                file.write(content)
        self.memory = deepcopy(memory)
        self.memory.set_keep(self.keep)
        assert self.open() == self.identity.cluster_id
        self.write(lambda cursor: pruning.sweep(cursor, self.keep))
        self.begin_epoch(an_epoch_change(self.highest + 1))

    @invariant()
    def same_current(self) -> None:
        assert by_namespace(self.read(configs.current)) == by_namespace(fired(self.memory.current()))

    @invariant()
    def tag_names_one_document(self) -> None:
        for namespace in ("default", "b", "c"):
            for each in self.read(partial(configs.history, namespace=namespace, limit=1000, before=None)):
                assert self.named.setdefault(f"{namespace} {each.tag}", each.checksum) == each.checksum, each

    @staticmethod
    def bytes_of(path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()


class EquivalenceTests(SynchronousTestCase):
    """L{SameAsInMemory}."""

    def test_same_as_in_memory(self) -> None:
        run_state_machine_as_test(
            SameAsInMemory,
            settings=settings(
                max_examples=budget(12, 30), stateful_step_count=30, suppress_health_check=list(HealthCheck)
            ),
        )
