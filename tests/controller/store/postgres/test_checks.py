"""What /ready and the metrics tell of a PostgreSQL server."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.controller.store.postgres.checks import FAULTS, ServerFacts
from confd.runtime.metrics import Metrics
from confd.testing import a_draft
from tests.controller.store.fixtures import until
from tests.controller.store.postgres.fixtures import new_url, started
from tests.runtime.test_metrics import samples

SOUND = ServerFacts("15.20", True, True, 12, 97, "standby")


class FactsTests(SynchronousTestCase):
    """L{ServerFacts}."""

    def test_sound(self) -> None:
        self.assertEqual([SOUND.fault(each) for each in FAULTS], ["", "", ""])
        self.assertEqual(
            SOUND.describe(), "PostgreSQL 15.20, 12 of 97 connections are in use, commits wait for standby"
        )

    def test_faults(self) -> None:
        for name, facts in (
            ("fsync", evolve(SOUND, fsync=False)),
            ("full_page_writes", evolve(SOUND, full_page_writes=False)),
            ("connections", evolve(SOUND, used=90)),
        ):
            found = {each: facts.fault(each) for each in FAULTS}
            self.assertEqual([each for each in FAULTS if found[each]], [name])
            self.assertIn("; ", found[name])


class StoreTests(TestCase):
    """The facts and metrics of a L{PostgresStore}."""

    timeout = 60

    async def test_facts_and_metrics(self) -> None:
        store = started(self, new_url(self))
        await until(lambda: store.facts["database"]() != "")
        self.assertRegex(store.facts["database"](), r"^PostgreSQL \d+[.\d]*, \d+ of 57 connections are in use, /tmp/")
        self.assertIn("set fsync to on", store.facts["database_fsync"]())
        await store.publish(a_draft(2))
        metrics = Metrics()
        store.expose(metrics)
        found = {name: value for (name, labels), value in samples(metrics.exposition()).items() if not labels}
        self.assertGreaterEqual(found["confd_database_group_works_total"], found["confd_database_groups_total"])
        self.assertGreater(found["confd_database_groups_total"], 0)
        self.assertEqual((found["confd_storage_went_back"], found["confd_database_without_standby"]), (0, 0))
