"""A new identity, and what is left where taking it was cut off."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from confd.controller.store.migrations import shipped_migrations
from confd.controller.store.queries import epoch
from confd.controller.store.sqlite.bootstrap import open_database
from confd.errors import StartError, Unavailable
from confd.testing import a_draft, an_epoch_change
from tests.controller.store.fixtures import FIRST, connect, ended, lock, make_database, new_path, started

OTHER = "9b9b9b9b-5e6f-4a7b-8c9d-0e1f2a3b4c5d"


def marked(path: str) -> str:
    """What stands beside a database."""
    with open(f"{path}.id") as file:
        return file.read()


async def identity(store: Any) -> tuple[str, int]:
    """Cluster id and epoch."""
    found = (await store.contents()).identity
    return found.cluster_id, found.epoch


class CutOffTests(SynchronousTestCase):
    """A process may end after any step: the next one starts, and knows who it is."""

    def setUp(self) -> None:
        self.path = new_path(self)
        self.opened = open_database(self.path, FIRST, shipped_migrations())
        self.addCleanup(lambda: self.opened.identity_file.release())

    def marked(self) -> str:
        return marked(self.path)

    def adopt(self, *ends: str) -> None:
        """Take the steps of an adoption, and end in the way that is named."""
        connection = connect(self, self.path)
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        epoch.begin_epoch(cursor, an_epoch_change(5, cluster_id=OTHER), 0, self.opened.identity_file.write)
        if "committed" in ends:
            cursor.execute("COMMIT")
        connection.close()
        if "settled" in ends:
            self.opened.identity_file.write(OTHER)

    def started_again(self) -> Any:
        self.opened.identity_file.release()
        self.opened = open_database(self.path, FIRST, shipped_migrations())
        return self.opened.cluster_id, self.opened.epoch

    def test_before_the_commit(self) -> None:
        before = self.opened.cluster_id
        self.adopt()
        self.assertEqual(self.marked(), f"{before}\n{OTHER}\n")
        self.assertEqual(self.started_again(), (before, 1))
        self.assertEqual(self.marked(), f"{before}\n")

    def test_after_the_commit(self) -> None:
        before = self.opened.cluster_id
        self.adopt("committed")
        self.assertEqual(self.marked(), f"{before}\n{OTHER}\n")
        self.assertEqual(self.started_again(), (OTHER, 5))
        self.assertEqual(self.marked(), f"{OTHER}\n")

    def test_after_all(self) -> None:
        self.adopt("committed", "settled")
        self.assertEqual(self.marked(), f"{OTHER}\n")
        self.assertEqual(self.started_again(), (OTHER, 5))

    def test_writing_the_marker_was_cut_off(self) -> None:
        """Anything that a write in place may leave, as long as the line is whole that counts."""
        before = self.opened.cluster_id
        for text in (f"{before}\n9b9b", f"{before}\n9b9b9b9b\0\0\0\0", f"{before}\n{OTHER}"):
            self.write_marker(text)
            self.assertEqual(self.started_again(), (before, 1))
        self.adopt("committed")
        for text in (f"{OTHER}\n{OTHER}\n", f"{OTHER[:20]}{before[20:-1]}~\n{OTHER}\n", f"{OTHER}\n"):
            self.write_marker(text)
            self.assertEqual(self.started_again(), (OTHER, 5))
            self.assertEqual(self.marked(), f"{OTHER}\n")

    def test_a_third_one_is_refused(self) -> None:
        self.adopt("committed")
        self.opened.identity_file.release()
        make_database(other := new_path(self))
        os.replace(other, self.path)
        error = self.assertRaises(StartError, open_database, self.path, FIRST, shipped_migrations())
        self.assertIn("belongs to the cluster", str(error))
        os.remove(f"{self.path}.id")
        self.opened = open_database(self.path, FIRST, shipped_migrations())

    def write_marker(self, text: str) -> None:
        with open(f"{self.path}.id", "w") as file:
            file.write(text)


class RenamingTests(TestCase):
    """The store goes on under the new name, and begins again under it."""

    timeout = 30

    async def test_restart(self) -> None:
        path = new_path(self)
        store = started(self, path)
        before = await identity(store)
        await store.begin_epoch(an_epoch_change(4, cluster_id=OTHER))
        await store.publish(a_draft(3))
        self.assertEqual(marked(path), f"{OTHER}\n")
        await ended(store)
        revalidate = started(self, path)
        self.assertEqual(await identity(revalidate), (OTHER, 4))
        tags = [str(each.tag) for each in await revalidate.history("default", 9, None)]
        self.assertEqual(tags, ["9b9b9b9b.4.3", "9b9b9b9b.4.2", f"{before[0][:8]}.1.1"])

    async def test_storage_fails(self) -> None:
        """It is who it was, here and at the next start."""
        path = new_path(self)
        store = started(self, path, busy_timeout=0.01)
        before = await identity(store)
        blocker = lock(self, path)
        with self.assertRaises(Unavailable):
            await store.begin_epoch(an_epoch_change(4, cluster_id=OTHER))
        blocker.rollback()
        self.assertEqual(await identity(store), before)
        await ended(store)
        self.assertEqual(await identity(started(self, path)), before)
