"""Tests of L{confd.web.openapi.pages}."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.offload import Offload
from confd.web.health import Health
from confd.web.openapi.pages import documented
from tests.conversation import Conversation, serve
from tests.web.sample_api import AUTH

#: The files of swagger-ui-dist 5.35.0 as they are published.
PUBLISHED = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}

FOLDER = files("confd.web.openapi.swagger")


class DocumentationTests(SynchronousTestCase):
    """The pages of a role with one path of its own."""

    def setUp(self) -> None:
        clock = Clock()
        self.caller = Conversation(
            serve(clock, AUTH, *documented(clock, "a role", [Health()], {}, Offload(maybeDeferred))), clock
        )

    def test_document_is_public_and_describes_itself(self) -> None:
        document = self.caller.get("/openapi.json").json
        OpenAPIV31SpecValidator(document).validate()
        self.assertLessEqual({"/health", "/openapi.json", "/swagger/index.html"}, document["paths"].keys())

    def test_document_at_the_path_of_the_go_system_has_relative_servers(self) -> None:
        document, other = (self.caller.get(path).json for path in ("/openapi.json", "/swagger/doc.json"))
        self.assertEqual(other.pop("servers"), [{"url": "../"}])
        self.assertEqual(document.pop("servers"), [{"url": "./"}])
        self.assertEqual(other, document)

    def test_page_loads_only_own_files_that_its_policy_allows(self) -> None:
        page = self.caller.get("/swagger/index.html")
        self.assertEqual(page.headers["content-type"], "text/html; charset=utf-8")
        policy = page.headers["content-security-policy"]
        self.assertIn("default-src 'self'", policy)
        self.assertNotIn("script-src", policy)
        text = page.body.decode()
        self.assertNotRegex(text, r"https?://|<style|\son\w+=|<script(?![^>]*\ssrc=)")
        for name in re.findall(r'(?:src|href)="([^"]+)"', text):
            if not name.startswith("data:"):
                self.assertEqual(self.caller.get(f"/swagger/{name}".replace("/swagger/../", "/")).status, 200, name)

    def test_swagger_ui_is_unchanged_and_has_its_licence(self) -> None:
        for name, digest in PUBLISHED.items():
            self.assertEqual(hashlib.sha256(FOLDER.joinpath(name).read_bytes()).hexdigest(), digest, name)
