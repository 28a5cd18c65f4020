"""The files of the dashboard: all there, served to admins, and with nothing in them that their policy forbids."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.controller.access.test_matrix import ROWS
from tests.controller.harness import ADMIN, AGENT, ControllerHarness

#: The checksum of the editor.
EDITOR = "4c41a929e90724fb4ca42a0d292264fa35de646f3d1bc7ef8218df6cc54b1b49"

FOLDER = Path(str(files("confd.controller.dashboard")))


class DashboardTests(SynchronousTestCase):
    """What a browser loads."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def text(self, path: str) -> str:
        """A file, as an admin gets it."""
        reply = self.harness.caller().get(path, auth=ADMIN)
        self.assertEqual(reply.status, 200, path)
        return reply.body.decode()

    def test_closed(self) -> None:
        """From the page on, each file is there that another one names, and none is left over."""
        seen: set[str] = set()
        wanted = {"/", "/signin"}
        while wanted:
            path = wanted.pop()
            seen.add(path)
            text = self.text(path)
            # Relative: a proxy may serve the page below a prefix.
            named = {f"/{name}" for name in re.findall(r'"(dashboard/[\w.]+)"', text)}
            named |= {f"/dashboard/{name}" for name in re.findall(r'(?:from |import\()"\./([\w.]+)"', text)}
            wanted |= named - seen
        there = {f"/dashboard/{path.name}" for path in FOLDER.iterdir() if path.suffix in (".js", ".css", ".svg")}
        self.assertEqual(seen - {"/", "/signin"}, there)

    def test_nothing_inline(self) -> None:
        """Neither script nor style nor handler in the markup, and no address of anybody else."""
        for page in (self.text("/"), self.text("/signin")):
            self.assertEqual(re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page), [])
            self.assertEqual(re.findall(r"<script[^>]*>(?=[^<])", page), [])
        for path in FOLDER.iterdir():
            if path.suffix in (".html", ".js", ".css", ".svg"):
                addresses = set(re.findall(r"\bhttps?://[^\s\"']+", path.read_text("utf-8")))
                self.assertEqual(addresses - {"http://www.w3.org/2000/svg"}, set(), path.name)

    def test_markup_is_never_made_of_text(self) -> None:
        """No module has a way to turn what a machine said into elements."""
        for path in FOLDER.glob("*.js"):
            ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b"
            self.assertEqual(re.findall(ways, path.read_text("utf-8")), [], path.name)

    def test_for_admins(self) -> None:
        """Nobody else sees it; a browser is asked who is there."""
        caller = self.harness.caller()
        self.assertEqual(caller.get("/", auth=AGENT).status, 403)
        refused = caller.get("/")
        self.assertEqual(refused.status, 401)
        self.assertIn("Basic", refused.headers["www-authenticate"])

    def test_the_editor_is_the_file_that_was_built(self) -> None:
        """The file in C{scripts/editor} says which parts it has; after a build, write its new checksum here."""
        content = (FOLDER / "codemirror.js").read_bytes()
        self.assertEqual(hashlib.sha256(content).hexdigest(), EDITOR)
        licences = (FOLDER / "codemirror.LICENSE.txt").read_text("utf-8")
        for part in ("@codemirror/view", "@lezer/common", "style-mod"):
            self.assertRegex(licences, rf"(?m)^{part} [\d.]+ \(MIT\)$")

    def test_the_audit_view_has_words_for_each_change(self) -> None:
        """What people and scripts change has a row in the words of the audit view."""
        words = (FOLDER / "audit_words.js").read_text("utf-8")
        agents = {"POST /api/v1/register", "POST /api/v1/report"}
        changes = {each.partition("?")[0] for each in ROWS if not each.startswith("GET ")} - agents
        self.assertEqual({each for each in changes if f'"{each}"' not in words}, set())

    def test_sizes(self) -> None:
        """A module fits on a few screens."""
        for path in set(FOLDER.glob("*.js")) - {FOLDER / "codemirror.js"}:
            self.assertLessEqual(path.read_text("utf-8").count("\n"), 250, path.name)
