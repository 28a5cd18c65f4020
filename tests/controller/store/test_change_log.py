"""Tests of L{confd.controller.store.change_log}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from confd.changes import AGENT, Committed
from confd.controller.store.change_log import MAX_KEPT_CHANGES, ChangeLog, Written, revision_change
from confd.model import Revision
from tests.agent.fakes import configuration


class ChangeLogTests(SynchronousTestCase):
    """L{ChangeLog}."""

    def setUp(self) -> None:
        self.now = 0.0
        self.changes = ChangeLog(lambda: self.now)

    def write(self, *numbers: int) -> None:
        """Commit one transaction that makes these versions, each in a work of its own."""
        revisions = [Revision(configuration(number), "admin") for number in numbers]
        self.changes.commit([Written(each, [revision_change(each, None)]) for each in revisions])

    def test_results_get_the_number_of_the_transaction(self) -> None:
        agent = (AGENT, "a", None)
        results = self.changes.commit([Written("one", [agent]), "no change", Written("two", [agent, agent])])
        self.assertEqual(results, [Committed("one", 3), "no change", Committed("two", 3)])
        self.assertEqual(self.changes.commit([Written("replay")]), [Committed("replay", 3)])

    def test_keeps_the_newest(self) -> None:
        for number in range(1, MAX_KEPT_CHANGES + 3):
            self.write(number)
        self.assertFalse(self.changes.since(1).complete)
        batch = self.changes.since(2)
        self.assertTrue(batch.complete)
        self.assertEqual([batch.changes[0].seq, batch.changes[-1].seq], [3, MAX_KEPT_CHANGES + 2])

    def test_keeps_one_document_of_a_namespace(self) -> None:
        self.write(1, 2)
        self.write(3)
        documents = [each.value.configuration for each in self.changes.since(0).changes]
        self.assertEqual(documents, [None, None, configuration(3)])

    def test_measures_the_commit(self) -> None:
        revision = Revision(configuration(1), "admin")
        self.now = 7.5
        self.changes.commit([Written(revision, [revision_change(revision, 5.0)])])
        (change,) = self.changes.since(0).changes
        self.assertEqual((change.value.posted, change.value.commit_ms), (5.0, 2500.0))
