"""All that a controller and a worker show to the network: what is served is what the API document tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import confd.controller.composition
import confd.worker.composition
from confd.runtime.options import read
from confd.runtime.settings import ControllerSettings, WorkerSettings
from confd.web.server.site import BoundedSite, Limits
from tests.conversation import Conversation
from tests.operations import Operation, operations
from tests.reactors import InstantReactor

#: What callers were promised, however it is built.
PROMISED = {
    "controller": """
        GET /, POST /api/v1/register, GET /api/v1/config, POST /api/v1/config, GET /api/v1/namespaces,
        POST /api/v1/namespaces,
        DELETE /api/v1/namespaces/{name}, GET /api/v1/agents, GET /api/v1/agents/{agent_id},
        DELETE /api/v1/agents/{agent_id}, POST /api/v1/report, GET /api/v1/stream, GET /api/v1/events,
        GET /api/v1/config/history, GET /api/v1/config/versions/{version}, GET /api/v1/config/diff,
        POST /api/v1/config/rollback, GET /api/v1/config/convergence,
        GET /api/v1/config/versions/{version}/convergence, GET /api/v1/audit, GET /health, GET /ready, GET /ready/read,
        GET /metrics, GET /openapi.json, GET /swagger/index.html, GET /swagger/doc.json
    """,
    "worker": """
        POST /config, GET /config, GET /hit, GET /health, GET /ready, GET /metrics, GET /openapi.json,
        GET /swagger/index.html, GET /swagger/doc.json
    """,
}


class Surface:
    """
    One role as its composition root joins it, not started.

    @ivar document: its API document.
    @ivar documented: what the document tells of.
    @ivar served: the methods and paths that it routes, in the notation of the document.
    """

    def __init__(self, compose: Any, settings: Any) -> None:
        composed = compose(InstantReactor(), settings, {})
        resource, clock = composed.site.resource, Clock()
        self.document = Conversation(BoundedSite(clock, resource, Limits()), clock).get("/openapi.json").json
        self.documented: list[Operation] = list(operations(self.document))
        self.served = {
            (route.declared.method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.declared.path))
            for route in resource.routes
        }


def surfaces() -> dict[str, Surface]:
    """Those of the roles that have a document, by name."""
    return {
        "controller": Surface(confd.controller.composition.compose, read(ControllerSettings, {}, {})),
        "worker": Surface(confd.worker.composition.compose, read(WorkerSettings, {}, {})),
    }


def integers_of(schema: Any, document: Any, known: set[str]) -> Iterator[dict[str, Any]]:
    """
    Yield the schemas of integers in a schema, and in the schemas that it refers to.

    @param known: references that were followed; more are added.
    """
    if isinstance(schema, list):
        for each in schema:
            yield from integers_of(each, document, known)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "integer":
        yield schema
    reference = schema.get("$ref")
    if reference is not None and reference not in known:
        known.add(reference)
        _, *path = reference.split("/")
        yield from integers_of(reduce(getitem, path, document), document, known)
    yield from integers_of(list(schema.values()), document, known)


class DocumentTests(SynchronousTestCase):
    """The documents of both."""

    def setUp(self) -> None:
        self.surfaces = surfaces()

    def test_valid(self) -> None:
        """They are OpenAPI 3.1."""
        for name, surface in self.surfaces.items():
            OpenAPIV31SpecValidator(surface.document).validate()
            self.assertEqual(surface.document["openapi"], "3.1.0")
            self.assertEqual(surface.document["info"]["title"], f"confd {name}")

    def test_complete(self) -> None:
        """They tell of every path that is served, and of no other."""
        for surface in self.surfaces.values():
            self.assertEqual({(each.method, each.path) for each in surface.documented}, surface.served)

    def test_promised(self) -> None:
        """What was promised is there."""
        for name, paths in PROMISED.items():
            documented = {f"{each.method} {each.path}" for each in self.surfaces[name].documented}
            self.assertLessEqual({path.strip() for path in paths.split(",")}, documented)

    def test_integers_have_a_minimum(self) -> None:
        """No request may hold an integer below what SQLite stores."""
        integers = [
            integer
            for surface in self.surfaces.values()
            for each in surface.documented
            for schema in [
                *(parameter.get("schema") for parameter in each.documented.get("parameters", ())),
                *each.documented.get("requestBody", {}).get("content", {}).values(),
            ]
            for integer in integers_of(schema, surface.document, set())
        ]
        self.assertTrue(integers)
        for integer in integers:
            self.assertTrue({"minimum", "exclusiveMinimum"} & integer.keys(), integer)

    def test_each_operation_is_described(self) -> None:
        """Every operation says what it is for, what it answers, and how it is refused."""
        for surface in self.surfaces.values():
            for each in surface.documented:
                name = f"{each.method} {each.path}"
                self.assertTrue(each.documented["summary"].endswith("."), name)
                self.assertNotRegex(each.documented["description"], r"[A-Z]\{|@", name)
                self.assertNotEqual(each.documented["tags"], ["other"], name)
                responses = each.documented["responses"]
                self.assertTrue(any(status[0] in "2d" for status in responses), name)
                self.assertEqual(bool(each.who) or name == "POST /signin", "401" in responses, name)
                if "requestBody" in each.documented:
                    self.assertLessEqual({"400", "413", "415"}, responses.keys(), name)
