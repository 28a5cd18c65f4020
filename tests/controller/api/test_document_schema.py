"""Tests of L{confd.controller.api.document_schema}."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from confd.controller.configs.schema import BUILT_IN
from tests.controller.harness import ADMIN, AGENT, ControllerHarness


class DocumentSchemaTests(SynchronousTestCase):
    """GET C{/api/v1/schema}."""

    def test_readers_get_the_built_in_schema(self) -> None:
        caller = ControllerHarness().caller()
        reply = caller.get("/api/v1/schema", auth=ADMIN)
        self.assertEqual((reply.status, reply.headers["content-type"]), (200, "application/schema+json"))
        self.assertEqual(json.loads(reply.body), BUILT_IN)
        self.assertEqual(caller.get("/api/v1/schema", auth=AGENT).status, 403)
