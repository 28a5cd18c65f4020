"""Databases of earlier releases, opened by this one: nothing is lost, and life goes on."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import TestCase

from confd.audit import verify
from confd.codec import strict_json
from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.sqlite.store import SqliteStore
from confd.reports import ReportState
from confd.testing import a_draft
from tests.controller.store.fixtures import connect, ended, new_path, started
from tests.controller.store.historic.freeze import AGENTS

FOLDER = Path(__file__).with_name("historic")

FROZEN = {int(file.stem.rpartition("-")[2]): file.read_text("utf-8") for file in FOLDER.glob("schema-*.sql")}

#: The step that brought what is looked for.
KEYS, PROOF = 2, 5

THREE = strict_json.document({"url": "http://three.test/", "ключ": [1, 2.5, None]})


class HistoricTests(TestCase):
    """C{historic/schema-*.sql}, which L{tests.controller.store.historic.freeze} made."""

    timeout = 60

    def thawed(self, number: int) -> SqliteStore:
        """A store on a copy of that database, which is then C{self.path}."""
        path = self.path = new_path(self)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(FROZEN[number])
            self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (number,))
        # As the controller left it: its marker beside it.
        Path(f"{path}.id").write_text(self.cluster_id(number) + "\n")
        return started(self, path)

    def cluster_id(self, number: int) -> str:
        """Whose database it is."""
        found = re.search(r'INSERT INTO "meta" VALUES\(1,\'([0-9a-f-]{36})\',1\);', FROZEN[number])
        assert found is not None
        return found[1]

    def rolled_back(self, number: int) -> int:
        """The last version of C{default}: in the end, releases that could rolled back."""
        return 4 if number >= PROOF else 3

    def test_there_are_some(self) -> None:
        self.assertLessEqual({1, KEYS, PROOF}, set(FROZEN))

    async def test_climbs(self) -> None:
        """It is brought up to date, once and for all."""
        for number in FROZEN:
            store = self.thawed(number)
            identity = (await store.contents()).identity
            self.assertEqual((identity.cluster_id, identity.epoch), (self.cluster_id(number), 1))
            await ended(store)
            revalidate = started(self, self.path)
            self.assertEqual((await revalidate.contents()).identity.cluster_id, identity.cluster_id)
            (reached,) = connect(self, self.path).execute("PRAGMA user_version").fetchone()
            self.assertEqual(reached, len(shipped_migrations()))

    async def test_history(self) -> None:
        """Every version, with its tag, its document and who made it."""
        for number in FROZEN:
            store, last = self.thawed(number), self.rolled_back(number)
            history = await store.history("default", 100, None)
            short = self.cluster_id(number)[:8]
            self.assertEqual([str(line.tag) for line in history], [f"{short}.1.{v}" for v in range(last, 0, -1)])
            found = [(line.author, line.comment, line.poll_interval, line.rollback_of) for line in history[::-1]]
            wanted = [
                ("confd", "the first version", 30, None),
                ("admin", "second", 20, None),
                ("admin", "third", 20, None),
            ]
            self.assertEqual(found, [*wanted, ("admin", "back", 20, 2)][:last])
            third = await store.revision("default", 3)
            self.assertEqual(third.configuration.document, THREE)
            current = {each.configuration.namespace: each.configuration.tag.version for each in await store.current()}
            self.assertEqual(current, {"default": last, "edge": 1})

    async def test_agents(self) -> None:
        """Their ids, what they said of themselves, and what they reported."""
        for number in FROZEN:
            first, second = sorted(await self.thawed(number).load_agents(), key=lambda agent: agent.id)
            self.assertEqual((first.id, second.id), AGENTS)
            self.assertEqual((first.hostname, first.metadata, first.strategy), ("host-1", "region=eu", "STREAM"))
            self.assertIsNotNone(first.last_poll)
            self.assertIsNone(second.last_poll)
            self.assertEqual(first.report is not None, number >= PROOF)
            if first.report is not None:
                self.assertEqual((first.report.state, first.report.tag.version), (ReportState.APPLIED, 3))

    async def test_keys(self) -> None:
        """Announcements are signed with the key that agents know."""
        for number in FROZEN:
            store = self.thawed(number)
            stored = re.findall(r'INTO "signing_keys" VALUES\(\d+,X\'([0-9A-F]{64})\'', FROZEN[number])
            self.assertEqual(bool(stored), number >= KEYS)
            if stored:
                rows = connect(self, self.path).execute("SELECT private FROM signing_keys").fetchall()
                self.assertEqual([private.hex().upper() for (private,) in rows], stored)
            self.assertEqual(len((await store.contents()).identity.keys), 1)

    async def test_goes_on(self) -> None:
        """A retry gets its first answer, the next version follows the last, a name that was given up stays so."""
        for number in FROZEN:
            store, last = self.thawed(number), self.rolled_back(number)
            retry = a_draft(document=THREE, comment="third", idempotency_key="k-3")
            self.assertEqual((await store.publish(retry)).value.configuration.tag.version, 3)
            self.assertEqual((await store.publish(a_draft())).value.configuration.tag.version, last + 1)
            self.assertEqual(
                (await store.create_namespace(a_draft(namespace="gone"))).value.configuration.tag.version, 2
            )

    async def test_audit(self) -> None:
        """The chain holds, and goes on."""
        for number in FROZEN:
            entries = await self.thawed(number).audit(100, None)
            self.assertEqual(bool(entries), number >= PROOF)
            self.assertEqual(verify(entries).reason, "")
