"""Requests that share a work."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from confd.changes import Committed
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.postgres.shared_works import MOST, SharedWorks
from confd.controller.store.queries import agents
from confd.controller.store.queries.registrations import Joining, register_all
from confd.errors import Forbidden, Unavailable
from confd.model import Registration
from confd.testing.examples import a_draft


class SharedWorksTests(SynchronousTestCase):
    """The works that are written, and the answers."""

    def setUp(self) -> None:
        connection = sqlite3.connect(":memory:")
        self.addCleanup(connection.close)
        for migration in shipped_migrations():
            connection.executescript(migration)
        self.cursor = connection.cursor()
        self.works: list[tuple[Any, Deferred[Any]]] = []
        self.shared = SharedWorks(self.write)

    def write(self, work: Any) -> Deferred[Any]:
        written: Deferred[Any] = Deferred()
        self.works.append((work, written))
        return written

    def register(self, agent_id: str) -> Deferred[Committed[Any]]:
        registration = Registration(agent_id=agent_id)
        return self.shared.put(register_all, Joining(registration, b"", a_draft().made_at))

    def commit(self) -> int:
        """Do the first work; return the number of agents that it registered or refused."""
        work, written = self.works.pop(0)
        done = work(self.cursor)
        written.callback(Committed(done.value, 7))
        return len(done.value)

    def test_registrations_share_a_work_until_it_begins(self) -> None:
        agents.block(self.cursor, "b")
        first = [self.register(agent_id) for agent_id in "abca"]
        work, _ = self.works[0]
        work(self.cursor)
        later = self.register("d")
        self.assertEqual((len(self.works), self.commit(), self.commit()), (2, 4, 1))
        self.failureResultOf(first.pop(1), Forbidden)
        for answer, agent_id in zip([*first, later], "acad", strict=True):
            committed = self.successResultOf(answer)
            self.assertEqual((committed.value.id, committed.seq), (agent_id, 7))

    def test_another_write_separates_them(self) -> None:
        """A change that was asked for in between is done in between."""
        self.register("a")
        self.shared.separate()
        self.register("b")
        self.assertEqual((len(self.works), self.commit(), self.commit()), (2, 1, 1))

    def test_a_work_has_a_limit(self) -> None:
        for number in range(MOST + 1):
            self.register(f"a{number}")
        self.assertEqual((len(self.works), self.commit(), self.commit()), (2, MOST, 1))

    def test_what_is_not_written_is_refused(self) -> None:
        answers = [self.register(agent_id) for agent_id in "ab"]
        self.works[0][1].errback(Unavailable("storage_unavailable", "The disk is full."))
        for answer in answers:
            self.failureResultOf(answer, Unavailable)

    def test_after_a_failure_another_work_begins(self) -> None:
        """Also where the work that failed never began."""
        first = self.register("a")
        _, written = self.works.pop()
        written.errback(Unavailable("storage_unavailable", "The disk is full."))
        self.failureResultOf(first, Unavailable)
        later = self.register("b")
        self.assertEqual(self.commit(), 1)
        self.assertEqual(self.successResultOf(later).value.id, "b")
