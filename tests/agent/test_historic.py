"""Read the files in C{historic/}, which the code of earlier releases wrote."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.agent.cache_files import CacheContents, CacheFiles
from confd.codec import strict_json
from confd.model import Configuration
from tests.agent.fakes import AGENT_ID

CACHES = sorted(Path(__file__).with_name("historic").glob("*.jsonl"))

#: What they all hold.
KEPT = Configuration(
    "1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d",
    2,
    7,
    "edge",
    strict_json.document({"url": "http://ü.test/", "n": [1.5, None, {"z": 1, "a": 2}]}),
    45,
    datetime(2026, 11, 24, 12, 30, 15, 123000, UTC),
)


class HistoricTests(SynchronousTestCase):
    """Caches from before and after the keys, and from before the tokens of agents."""

    def test_caches_of_earlier_releases_are_loaded(self) -> None:
        self.assertEqual([file.name for file in CACHES], ["with-keys.jsonl", "without-keys.jsonl"])
        for file in CACHES:
            path = self.mktemp()
            shutil.copy(file, path)
            Path(f"{path}.id").write_text(AGENT_ID + "\n")
            self.assertEqual(CacheFiles(path, "edge").load(), CacheContents(KEPT, AGENT_ID))
