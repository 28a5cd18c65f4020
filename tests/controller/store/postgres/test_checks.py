"""What /ready and the metrics tell of a PostgreSQL server."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.controller.store.postgres.checks import FAULTS, ServerFacts
from confd.controller.store.postgres.url import DatabaseUrl
from confd.interfaces.controllers import AgreedSettings, differing
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
        metrics = Metrics()
        store.expose(metrics)

        def sample(name: str) -> float:
            return samples(metrics.exposition())[name, ()]

        await store.publish(a_draft(2))
        writes, groups = (sample(f"confd_database_{name}_total") for name in ("group_works", "groups"))
        # Publishes that come while a transaction runs share the next one.
        await gatherResults([store.publish(a_draft(number)) for number in range(3, 12)])
        self.assertGreaterEqual(sample("confd_database_group_works_total") - writes, 9)
        self.assertLess(sample("confd_database_groups_total") - groups, 9)
        found = {name: value for (name, labels), value in samples(metrics.exposition()).items() if not labels}
        self.assertGreater(found["confd_database_groups_total"], 0)
        self.assertEqual((found["confd_storage_went_back"], found["confd_database_without_standby"]), (0, 0))


class ControllersTests(TestCase):
    """What a store shows of the controllers on its database."""

    timeout = 60

    async def test_controllers_and_the_settings_that_differ(self) -> None:
        url = new_url(self)
        first, second = started(self, url, address="web1"), started(self, url, address="web2")
        for store, keep in ((first, "0"), (second, "10")):
            store.agree(
                AgreedSettings({"HISTORY_KEEP": keep, "MAX_CONFIG_BYTES": "1000"}, {"ADMIN_PASSWORD": "secret"})
            )
            await store._beat()
        found = await first.controllers()
        self.assertEqual([(each.address, each.lost) for each in found], [("web1", False), ("web2", False)])
        self.assertEqual(differing(found), ["HISTORY_KEEP"])
        self.assertEqual({len(each.settings["ADMIN_PASSWORD"]) for each in found}, {4})
        await first._look()
        self.assertIn("HISTORY_KEEP (web1, web2); ", first.facts["database_settings"]())
        metrics = Metrics()
        first.expose(metrics)
        shown = samples(metrics.exposition())
        self.assertEqual(shown["confd_settings_differ", (("setting", "HISTORY_KEEP"),)], 1)
        self.assertEqual(shown["confd_settings_differ", (("setting", "ADMIN_PASSWORD"),)], 0)
        self.assertEqual(shown["confd_controllers", (("state", "running"),)], 2)
        second.agree(AgreedSettings({"HISTORY_KEEP": "0", "MAX_CONFIG_BYTES": "1000"}))
        await second._beat()
        self.assertEqual(differing(await first.controllers()), [])
        second.show_passwords({"ADMIN_PASSWORD": "another"})
        await second._beat()
        self.assertEqual(differing(await first.controllers()), ["ADMIN_PASSWORD"])

    async def test_lag_and_lost_controllers(self) -> None:
        url = new_url(self)
        first, second = started(self, url, address="web1"), started(self, url, address="web2")
        seq = (await first.publish(a_draft(2))).seq
        await first.changes(seq)
        await first._beat()
        await second.changes(seq - 1)
        await second._beat()
        self.assertEqual([(each.seen_seq, each.lag) for each in await first.controllers()], [(seq, 0), (seq - 1, 1)])
        await maybeDeferred(second._beats.stopService)
        with DatabaseUrl.parse(url).connect() as connection:
            connection.execute("UPDATE controllers SET beat_at = beat_at - interval '11 s' WHERE address = 'web2'")
        self.assertEqual([each.lost for each in await first.controllers()], [False, True])
        await second.stopService()
        self.assertEqual([each.address for each in await first.controllers()], ["web1"])
