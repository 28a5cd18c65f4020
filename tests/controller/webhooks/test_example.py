"""Tests of the receiver and of the shell command in the documents."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.codec.headers import rfc3339
from confd.controller.webhooks.request import signature

DOCS = Path(__file__).resolve().parents[3] / "docs"

SECRET = "a secret of the test"


class ExampleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.verify: Any = runpy.run_path(str(DOCS / "examples/webhooks/receiver.py"))["verify"]

    def body(self, age: timedelta = timedelta()) -> bytes:
        """Return an event of an age."""
        return json.dumps({"id": "1", "at": rfc3339(datetime.now(UTC) - age)}).encode()

    def test_genuine_event(self) -> None:
        body = self.body()
        self.assertEqual(self.verify(body, signature(body, SECRET), SECRET), json.loads(body))

    def test_changed_unsigned_and_old_events_are_refused(self) -> None:
        body, old = self.body(), self.body(timedelta(hours=26))
        for received, signed in (
            (body + b" ", signature(body, SECRET)),
            (body, ""),
            (body, signature(body, SECRET + "x")),
            (old, signature(old, SECRET)),
        ):
            self.assertRaises(ValueError, self.verify, received, signed, SECRET)

    def test_shell(self) -> None:
        if shutil.which("openssl") is None:
            self.skipTest("openssl is not installed")
        [command] = re.findall(r"^   (openssl .*)$", (DOCS / "webhooks.rst").read_text("utf-8"), re.MULTILINE)
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "body").write_bytes(self.body())
        environ = {**os.environ, "WEBHOOK_SECRET": SECRET}
        done = subprocess.run(["sh", "-c", command], cwd=folder, env=environ, capture_output=True, check=True)
        self.assertEqual(done.stdout.decode().strip(), signature((folder / "body").read_bytes(), SECRET))
