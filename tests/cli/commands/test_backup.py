"""Tests of C{backup}: a file gets its name only when it is complete and sound."""

import hashlib
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from confd.cli.transport import Reply, Unreached
from tests.cli.harness import CliHarness, refusal

_TABLES = """
    CREATE TABLE meta (cluster_id); INSERT INTO meta VALUES ('1a2b3c4d-0000');
    CREATE TABLE revisions (epoch); INSERT INTO revisions VALUES (1), (2);
    CREATE TABLE namespaces (retired); INSERT INTO namespaces VALUES (0), (1);
    CREATE TABLE audit (number); INSERT INTO audit VALUES (1);
"""


class BackupTests(SynchronousTestCase):
    """A controller that sends a small database."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="confd-backup-tests-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        source = self.folder / "source"
        with closing(sqlite3.connect(source)) as connection:
            connection.executescript(_TABLES)
        self.body = source.read_bytes()
        source.unlink()
        self.file = self.folder / "backup.db"
        self.cli = CliHarness()

    def send(self, *pieces, checksum=None):
        """Let the controller answer with pieces of a body, or with exceptions among them."""
        checksum = checksum or f"sha256:{hashlib.sha256(self.body).hexdigest()}"
        self.cli.controller.pieces.append([Reply(200, {"x-confd-backup-checksum": checksum}, b""), *pieces])

    def names(self):
        return [each.name for each in self.folder.iterdir()]

    def test_saves_and_describes(self):
        self.send(self.body[:100], self.body[100:])
        done = self.cli.type("backup", str(self.file))
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(self.file.read_bytes(), self.body)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(self.names(), ["backup.db"])
        for fact in ("1a2b3c4d-0000", f"bytes          {len(self.body)}", "epoch          2", "namespaces     1"):
            self.assertIn(fact, done.out)

    def test_keeps_an_existing_file(self):
        self.file.write_text("precious")
        self.assertEqual(self.cli.type("backup", str(self.file)).status, Exit.USAGE)
        self.assertEqual(self.file.read_text(), "precious")
        self.send(self.body)
        self.assertEqual(self.cli.type("backup", "--force", str(self.file)).status, 0)
        self.assertEqual(self.file.read_bytes(), self.body)

    def test_nothing_is_left_of_a_failure(self):
        self.file.write_text("precious")
        for pieces, checksum, status in (
            ([self.body[:100]], None, Exit.UNSOUND),
            ([self.body], "sha256:0", Exit.UNSOUND),
            ([b"no database"], f"sha256:{hashlib.sha256(b'no database').hexdigest()}", Exit.UNSOUND),
            ([self.body[:100], Unreached("The connection broke.")], None, Exit.UNREACHABLE),
        ):
            with self.subTest(status=status):
                self.send(*pieces, checksum=checksum)
                self.assertEqual(self.cli.type("backup", "--force", str(self.file)).status, status)
                self.assertEqual(self.names(), ["backup.db"])
                self.assertEqual(self.file.read_text(), "precious")

    def test_refusals(self):
        self.cli.controller.pieces.append([refusal(403, "needs_tls", "Ask over TLS.")])
        done = self.cli.type("backup", str(self.file))
        self.assertEqual((done.status, done.err), (Exit.DENIED, "confdctl: Ask over TLS.\n"))
        self.send(self.body)
        done = self.cli.type("backup", str(self.folder / "nowhere" / "backup.db"))
        self.assertEqual(done.status, Exit.FAILED)
        self.assertIn("cannot be written", done.err)

    def test_a_link_in_the_place_of_the_partial_file_is_not_followed(self):
        other = self.folder / "other"
        other.write_text("precious")
        (self.folder / "backup.db.partial").symlink_to(other)
        self.send(self.body)
        self.assertEqual(self.cli.type("backup", str(self.file)).status, 0)
        self.assertEqual(other.read_text(), "precious")
