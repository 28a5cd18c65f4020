"""Tests of L{confd.controller.store.queries.keys}, and that the keys are there when the store has started."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.codec.signing import MAX_TRUSTED_KEYS
from confd.controller.store.queries.keys import KEPT, add_key, load_keys
from confd.testing import MemoryStore
from tests.controller.store.fixtures import FIRST, connect, make_database, new_path


class KeyTests(SynchronousTestCase):
    """In a database that has just been made."""

    def setUp(self) -> None:
        self.path = new_path(self)
        make_database(self.path)
        self.connection = connect(self, self.path)
        self.cursor = self.connection.cursor()

    def test_made_once(self) -> None:
        """A database has a key from its first moment, and keeps it."""
        (made,) = load_keys(self.cursor)
        make_database(self.path)
        (revalidate,) = load_keys(connect(self, self.path).cursor())
        self.assertEqual((revalidate.public, revalidate.private_bytes()), (made.public, made.private_bytes()))

    def test_replaced(self) -> None:
        """The new one comes first, the one before it stays good, those before are forgotten, on disk as well."""
        keys = load_keys(self.cursor)
        for _ in range(3):
            newer = add_key(self.cursor)
            self.assertEqual(len(newer), KEPT)
            self.assertEqual(newer[1].public, keys[0].public)
            self.assertNotIn(newer[0].public, [key.public for key in keys])
            self.assertEqual([key.public for key in load_keys(self.cursor)], [key.public for key in newer])
            keys = newer
        rows: Any = self.cursor.execute("SELECT count(*) FROM signing_keys").fetchone()
        self.assertEqual(rows, (KEPT,))

    def test_agents_believe_as_many(self) -> None:
        self.assertLessEqual(KEPT, MAX_TRUSTED_KEYS)

    def test_a_damaged_key_is_not_kept(self) -> None:
        """The schema sees to it."""
        for private in (b"", b"x" * 31, b"x" * 33, None):
            self.assertRaises(
                sqlite3.IntegrityError, self.cursor.execute, "INSERT INTO signing_keys (private) VALUES (?)", (private,)
            )

    def test_memory(self) -> None:
        """The store that forgets does the same."""
        store = MemoryStore(FIRST)
        (first,) = self.successResultOf(store.contents()).identity.keys
        for _ in range(3):
            keys = self.successResultOf(store.rotate_keys()).value.keys
            self.assertEqual((len(keys), keys[1]), (KEPT, first))
            first = keys[0]
