"""The paths of namespaces, as a caller meets them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from confd.changes import RETIRED, Change
from tests.agent.fakes import configuration
from tests.controller.changes import revision_change
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Reply

CONFIG = "/api/v1/config"
URL = {"url": "http://127.0.0.1/"}


class NamespaceTests(SynchronousTestCase):
    """C{/api/v1/namespaces}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def create(self, name: str = "blue", **more: object) -> Reply:
        """Make one."""
        body = {"name": name, "config": URL, **more}
        return self.harness.caller().post("/api/v1/namespaces", json=body, auth=ADMIN)

    def names(self) -> list[str]:
        """All there are."""
        return [each["name"] for each in self.harness.caller().get("/api/v1/namespaces", auth=ADMIN).json]

    def retire(self, name: str) -> Reply:
        """Retire one."""
        return self.harness.caller().delete(f"/api/v1/namespaces/{name}", auth=ADMIN)

    def test_life(self) -> None:
        """Made, used, retired; versions count in each alone."""
        self.assertEqual(self.create().status, 201)
        self.assertEqual(self.names(), ["blue", "default"])
        reply = self.harness.caller().post(f"{CONFIG}?namespace=blue", json=URL, auth=ADMIN)
        self.assertEqual(reply.json["version"], 2)
        self.assertEqual(self.harness.tag()[-2:], ".1")
        self.assertEqual(self.retire("blue").status, 200)
        self.assertEqual(self.names(), ["default"])
        reply = self.harness.caller().get(f"{CONFIG}?namespace=blue", auth=AGENT)
        self.assertEqual((reply.status, reply.code), (404, "unknown_namespace"))

    def test_many(self) -> None:
        """They take several turns, in which others are answered; one that is retired meanwhile is left out."""
        for number in range(450):
            self.harness.snapshot.apply(revision_change(configuration(1, namespace=f"n{number:03}")))
        # In the next turn, when the first of them has been described and the last one has not.
        for name in ("n000", "n449"):
            self.harness.clock.callLater(0, self.harness.snapshot.apply, Change(1, RETIRED, name, None))
        self.assertEqual(self.names(), ["default", *(f"n{number:03}" for number in range(449))])

    def test_counts(self) -> None:
        """Versions and agents are shown."""
        self.create()
        self.harness.join(namespace="blue")
        blue, default = self.harness.caller().get("/api/v1/namespaces", auth=ADMIN).json
        self.assertEqual((blue["version"], blue["agents"], default["agents"]), (1, 1, 0))

    def test_large_documents_leave_the_reactor(self) -> None:
        """Decoding and hashing, however small the values are."""
        threaded = self.harness.clock.threaded
        self.assertEqual(self.create("small").status, 201)
        self.assertEqual(threaded, [])
        for number, value in enumerate(([7] * 9000, [[]] * 9000, {str(key): 1 for key in range(2000)}, "x" * 9000)):
            threaded.clear()
            self.assertEqual(self.create(f"n{number}", config={**URL, "value": value}).status, 201)
            self.assertEqual([each.__name__ for each in threaded], ["read_object", "document"])

    def test_in_use(self) -> None:
        """409 while agents of it live; when they are silent for long enough it can go."""
        self.create()
        self.harness.join(namespace="blue")
        reply = self.retire("blue")
        self.assertEqual((reply.status, reply.code), (409, "namespace_in_use"))
        self.harness.clock.advance(91)
        self.assertEqual(self.retire("blue").status, 200)

    def test_default_stays(self) -> None:
        """Whatever happens."""
        self.assertEqual(self.retire("default").code, "default_namespace")

    def test_dry_run(self) -> None:
        """The controller checks everything, and creates nothing."""
        path = "/api/v1/namespaces?dry_run=true"
        for name, config, status in (
            ("green", URL, 200),
            ("green", {"url": 1}, 422),
            ("default", URL, 409),
            ("UPPER", URL, 422),
        ):
            reply = self.harness.caller().post(path, json={"name": name, "config": config}, auth=ADMIN)
            self.assertEqual(reply.status, status, reply.json)
        self.assertEqual(self.names(), ["default"])

    def test_mistakes(self) -> None:
        """Each has an error of its own."""
        self.create()
        self.assertEqual((self.create().status, self.create().code), (409, "namespace_exists"))
        for name in ("", "UPPER", "a b", "x" * 64, "dots.are", "ü"):
            self.assertEqual(self.create(name).status, 422, name)
        reply = self.create("green", config={"url": 1})
        self.assertEqual((reply.status, reply.json["details"][0]["pointer"]), (422, "/config/url"))
        self.assertEqual(self.create("green", extra=1).status, 400)
        self.assertEqual(self.retire("nowhere").status, 404)
        self.assertEqual(self.names(), ["blue", "default"])
