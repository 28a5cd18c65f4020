"""Publishing with care: a dry run, a rollback, and waiting for the fleet."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from twisted.trial.unittest import SynchronousTestCase

from confd.codec import strict_json
from confd.controller.api.configs import MAX_WAITING_PUBLISHES
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from tests.controller.api.test_configs import SlowStore
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Conversation, Reply
from tests.reactors import InstantReactor

CONFIG, ROLLBACK = "/api/v1/config", "/api/v1/config/rollback"
NEW = {"url": "http://new/"}


class ChangeTests(SynchronousTestCase):
    """What these tests have in common: a harness with two versions."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()
        self.addCleanup(lambda: self.successResultOf(self.harness.stop()))
        self.publish({"url": "http://two/"})

    def ask(self, path: str, body: object, query: dict[str, object], headers: dict[str, str]) -> Conversation:
        caller = self.harness.caller()
        there = f"{path}?{urlencode(query)}" if query else path
        caller.ask("POST", there, json=body, auth=ADMIN, headers=headers)
        return caller

    def answered(self, caller: Conversation) -> Reply:
        reply = caller.answer()
        assert reply is not None, "no answer yet"
        return reply

    def publish(self, document: object = NEW, headers: Any = None, **query: object) -> Reply:
        return self.answered(self.ask(CONFIG, document, query, headers or {}))

    def roll_back(self, body: object, headers: Any = None, **query: object) -> Reply:
        return self.answered(self.ask(ROLLBACK, body, query, headers or {}))

    def current(self) -> Any:
        return self.harness.caller().get(CONFIG, auth=AGENT).json


class UnchangedTests(ChangeTests):
    """C{if_changed=true}."""

    SAME = {"url": "http://two/"}

    def test_refuses_what_is_current(self) -> None:
        for more in ({}, {"dry_run": "true"}, {"poll_interval": 30}):
            reply = self.publish(self.SAME, if_changed="true", **more)
            self.assertEqual((reply.status, reply.code), (409, "unchanged"), more)
        self.assertEqual(self.roll_back({"version": 2}, if_changed="true").code, "unchanged")
        self.assertEqual(self.current()["version"], 2)

    def test_publishes_what_differs(self) -> None:
        self.assertEqual(self.publish(self.SAME, if_changed="true", poll_interval=31).json["version"], 3)
        self.assertEqual(self.publish(NEW, if_changed="true").json["version"], 4)
        self.assertEqual(self.publish(NEW).json["version"], 5)

    def test_repeated_request_gets_its_first_answer(self) -> None:
        """The document of the first request is current by then."""
        versions = [
            self.publish(NEW, headers={"Idempotency-Key": "k"}, if_changed="true").json["version"] for _ in range(2)
        ]
        self.assertEqual(versions, [3, 3])

    def test_document_of_the_base_may_end_a_rollout(self) -> None:
        agent_id = self.harness.join()
        self.harness.report(agent_id, self.harness.tag())
        self.assertEqual(self.publish(self.SAME, if_changed="true", rollout="canary").code, "unchanged")
        self.assertEqual(self.publish(rollout="canary").status, 202)
        for more in ({"dry_run": "true"}, {}):
            self.assertEqual(self.publish(self.SAME, if_changed="true", rollout="abort", **more).json["version"], 4)


class DryRunTests(ChangeTests):
    """C{dry_run=true}."""

    def test_answer(self) -> None:
        self.harness.join()
        self.harness.clock.advance(91)
        self.harness.join()
        reply = self.publish(dry_run="true")
        self.assertEqual(reply.status, 200)
        self.assertEqual(
            reply.json,
            {
                "message": "Nothing was changed",
                "dry_run": True,
                "version": 3,
                "epoch": 1,
                "patch": [{"op": "replace", "path": "/url", "value": "http://new/"}],
                "text": '--- version 2\n+++ version 3\n@@ -1,3 +1,3 @@\n {\n-  "url": "http://two/"\n'
                '+  "url": "http://new/"\n }\n',
                "agents": {"targeted": 2, "live": 1},
            },
        )

    def test_poll_interval_is_a_difference(self) -> None:
        reply = self.publish({"url": "http://two/"}, dry_run="true", poll_interval=60)
        text = "--- version 2\n+++ version 3\n@@ poll interval @@\n-30 s\n+60 s\n"
        self.assertEqual((reply.json["patch"], reply.json["text"]), ([], text))
        text = self.publish(dry_run="true", poll_interval=60).json["text"]
        self.assertTrue(text.endswith('+  "url": "http://new/"\n }\n@@ poll interval @@\n-30 s\n+60 s\n'), text)

    def test_changes_nothing(self) -> None:
        changes, before = self.harness.changes(), self.current()
        self.publish(dry_run="true", headers={"Idempotency-Key": "k"})
        self.roll_back({"version": 1}, dry_run="true")
        self.assertEqual((self.current(), self.harness.changes()), (before, changes))
        self.assertEqual(self.publish({"url": "http://other/"}, headers={"Idempotency-Key": "k"}).json["version"], 3)

    def test_refuses_what_would_be_refused(self) -> None:
        reply = self.publish({"url": 1}, dry_run="true")
        self.assertEqual((reply.status, reply.json["details"][0]["pointer"]), (422, "/url"))
        self.assertEqual(self.publish(dry_run="true", headers={"If-Match": '"x"'}).code, "version_mismatch")
        self.assertEqual(self.publish(dry_run="true", headers={"If-Match": f'"{self.harness.tag()}"'}).status, 200)
        self.assertEqual(self.publish(dry_run="true", poll_interval=0).status, 400)
        self.assertEqual(self.publish(dry_run="true", namespace="no").code, "unknown_namespace")

    def test_bad_values(self) -> None:
        for query in ({"dry_run": "1"}, {"dry_run": "yes"}, {"dry_run": ""}, {"dry_run": "true", "wait": "applied"}):
            self.assertEqual(self.publish(**query).code, "bad_field", query)
        self.assertEqual(self.current()["version"], 2)


class RollbackTests(ChangeTests):
    """POST C{/api/v1/config/rollback}."""

    def test_answer(self) -> None:
        self.publish(poll_interval=7)
        reply = self.roll_back({"version": 2, "comment": "worse"})
        self.assertEqual(reply.status, 200)
        body = {name: reply.json[name] for name in ("message", "version", "epoch", "rollback_of", "published")}
        self.assertEqual(
            body,
            {
                "message": "Configuration updated successfully",
                "version": 4,
                "epoch": 1,
                "rollback_of": 2,
                "published": True,
            },
        )
        self.assertEqual(reply.headers["etag"], f'"{self.harness.tag()}"')
        there = self.current()
        self.assertEqual((there["data"], there["poll_interval_seconds"]), ({"url": "http://two/"}, 7))
        (newest, *_) = self.harness.caller().get("/api/v1/config/history", auth=ADMIN).json["items"]
        self.assertEqual((newest["rollback_of"], newest["comment"], newest["author"]), (2, "worse", "admin"))

    def test_dry_run(self) -> None:
        reply = self.roll_back({"version": 1}, dry_run="true")
        self.assertEqual((reply.json["version"], reply.json["rollback_of"]), (3, 1))
        self.assertIn('+  "url": "https://ip.me",\n', reply.json["text"])

    def test_conditions(self) -> None:
        """C{If-Match} and C{Idempotency-Key} as for a publish."""
        self.assertEqual(self.roll_back({"version": 1}, headers={"If-Match": '"x"'}).status, 412)
        headers = {"If-Match": f'"{self.harness.tag()}"', "Idempotency-Key": "k"}
        first = self.roll_back({"version": 1}, headers=headers)
        self.assertEqual(first.json["version"], 3)
        self.assertEqual(self.roll_back({"version": 1}, headers=headers).body, first.body)
        self.assertEqual(self.roll_back({"version": 2}, headers=headers).code, "idempotency_key_reused")
        self.assertEqual(self.current()["version"], 3)

    def test_versions_that_are_not_there(self) -> None:
        for version, status in ((0, 400), (-1, 400), (3, 404), (10**20, 404), ("1", 400), (1.5, 400), (None, 400)):
            self.assertEqual(self.roll_back({"version": version}).status, status, version)
        self.assertEqual(self.roll_back({}).status, 400)
        self.assertEqual(self.roll_back({"version": 1}, namespace="no").code, "unknown_namespace")
        self.assertEqual(self.current()["version"], 2)

    def test_pruned(self) -> None:
        self.harness = ControllerHarness(MemoryStore(a_draft(poll_interval=30), keep=1))
        self.publish()
        reply = self.roll_back({"version": 1})
        self.assertEqual((reply.status, reply.code), (410, "version_pruned"))
        self.assertEqual(self.current()["version"], 2)

    def test_does_not_fit_any_more(self) -> None:
        """The schema may have changed since that version was published."""
        old = a_draft(poll_interval=30, document=strict_json.document({"url": "ftp://old/", "a": 1}))
        self.harness = ControllerHarness(MemoryStore(old))
        self.publish()
        for query in ({}, {"dry_run": "true"}):
            reply = self.roll_back({"version": 1}, **query)
            self.assertEqual((reply.status, reply.code), (422, "schema_violation"))
            self.assertIn("Version 1 does not fit today's schema, so nothing was rolled back.", reply.json["error"])
            self.assertEqual([each["pointer"] for each in reply.json["details"]], ["/url"])
        self.assertEqual(self.current()["version"], 2)

    def test_who_may(self) -> None:
        for auth, status in ((None, 401), (AGENT, 403)):
            reply = self.harness.caller().post(ROLLBACK, json={"version": 1}, auth=auth)
            self.assertEqual(reply.status, status)


class WaitTests(ChangeTests):
    """C{wait=applied}."""

    def setUp(self) -> None:
        super().setUp()
        self.agents = [self.harness.join(hostname=f"host-{number}") for number in range(4)]

    def wait(self, headers: dict[str, str] | None = None, **query: object) -> Conversation:
        return self.ask(CONFIG, NEW, {"wait": "applied"} | query, headers or {})

    def applied(self, count: int, version: int = 3, skip: int = 0) -> None:
        for agent_id in self.agents[skip:count]:
            self.assertEqual(self.harness.report(agent_id, version).status, 200)

    def test_reached(self) -> None:
        caller = self.wait(quorum=75)
        self.assertIsNone(caller.answer())
        self.applied(2)
        self.assertIsNone(caller.answer())
        self.applied(3, skip=2)
        reply = self.answered(caller)
        self.assertEqual((reply.status, reply.json["version"]), (200, 3))
        self.assertEqual(reply.json["convergence"]["applied"], 3)
        self.assertEqual(reply.headers["etag"], f'"{self.harness.tag()}"')

    def test_not_reached(self) -> None:
        """All of them, in half a minute, where nothing else is said; those that lag are named."""
        caller = self.wait()
        self.applied(3)
        self.harness.clock.advance(29.9)
        self.assertIsNone(caller.answer())
        self.harness.clock.advance(0.1)
        reply = self.answered(caller)
        self.assertEqual(reply.status, 202)
        self.assertEqual([each["hostname"] for each in reply.json["convergence"]["laggards"]], ["host-3"])

    def test_timeout(self) -> None:
        caller = self.wait(timeout=0.5, quorum=0.5)
        self.harness.clock.advance(0.5)
        self.assertEqual(self.answered(caller).status, 202)

    def test_rollback(self) -> None:
        caller = self.ask(ROLLBACK, {"version": 1}, {"wait": "applied", "timeout": 600}, {})
        self.applied(4)
        self.assertEqual(self.answered(caller).status, 200)

    def test_nobody_to_wait_for(self) -> None:
        self.harness = ControllerHarness()
        self.assertEqual(self.answered(self.wait()).status, 200)

    def test_bad_values(self) -> None:
        for name, bad in (
            ("quorum", ("0", "101", "-1", "nan", "inf", "x", "", "0.0", "100.1", "1e9", "true")),
            ("timeout", ("0", "601", "-1", "nan", "inf", "1e9", "x", "", "600.1")),
            ("wait", ("", "delivered", "APPLIED")),
        ):
            for value in bad:
                reply = self.publish(**{"wait": "applied", name: value})
                self.assertEqual((reply.status, reply.json["details"][0]["pointer"]), (400, f"/{name}"), value)
        for name in ("quorum", "timeout"):
            reply = self.publish(**{name: 50})
            self.assertEqual((reply.status, reply.json["details"][0]["pointer"]), (400, f"/{name}"))
        self.assertEqual(self.current()["version"], 2)

    def test_caller_hangs_up(self) -> None:
        """It cancels nothing: the version is current, and is asked for again with the same key."""
        caller = self.wait({"Idempotency-Key": "k"})
        caller.hang_up()
        self.assertEqual(self.current()["version"], 3)
        self.applied(4)
        self.assertEqual(self.current()["version"], 3)
        self.assertEqual(self.answered(self.wait({"Idempotency-Key": "k"})).json["version"], 3)
        self.harness.clock.advance(600)

    def test_too_many(self) -> None:
        """Those that hang up count, too, until their time is up; one too many changes nothing."""
        for _ in range(MAX_WAITING_PUBLISHES):
            self.wait(timeout=600).hang_up()
        version = self.current()["version"]
        reply = self.answered(self.wait())
        self.assertEqual((reply.status, reply.code, self.current()["version"]), (429, "too_many_waiting", version))
        self.assertEqual(self.publish().status, 200)
        self.harness.clock.advance(600)
        self.assertIsNone(self.wait().answer())

    def test_refused(self) -> None:
        """There is nothing to wait for once too many have refused it."""
        caller = self.wait(quorum=75)
        self.harness.report(self.agents[0], 3, state="failed", error="no")
        self.assertIsNone(caller.answer())
        self.harness.report(self.agents[1], 3, state="failed", error="no")
        reply = self.answered(caller)
        self.assertEqual((reply.status, reply.json["convergence"]["failed"]), (202, 2))

    def test_retry_waits_again(self) -> None:
        """For the version that was made first, whatever was published since."""
        first = self.wait({"Idempotency-Key": "k"}, timeout=1)
        self.harness.clock.advance(1)
        self.assertEqual(self.answered(first).status, 202)
        self.publish({"url": "http://since/"})
        revalidate = self.wait({"Idempotency-Key": "k"}, timeout=10)
        self.assertIsNone(revalidate.answer())
        self.applied(4, version=3)
        reply = self.answered(revalidate)
        self.assertEqual((reply.status, reply.json["version"]), (200, 3))
        self.assertEqual(reply.json["convergence"]["version"], 3)

    def test_retry_after_a_long_time(self) -> None:
        """What became of it is not kept for ever; that it was published is."""
        self.publish(headers={"Idempotency-Key": "k"})
        for number in range(20):
            self.publish({"url": f"http://{number}/"})
        reply = self.answered(self.wait({"Idempotency-Key": "k"}, timeout=1))
        self.assertEqual((reply.status, reply.json["version"]), (202, 3))

    def test_namespace_is_retired_meanwhile(self) -> None:
        body = {"name": "blue", "config": NEW}
        self.harness.caller().post("/api/v1/namespaces", json=body, auth=ADMIN)
        self.harness.join(namespace="blue")
        caller = self.wait(namespace="blue", timeout=200)
        self.harness.clock.advance(100)
        self.assertEqual(self.harness.caller().delete("/api/v1/namespaces/blue", auth=ADMIN).status, 200)
        self.harness.clock.advance(100)
        reply = self.answered(caller)
        self.assertEqual((reply.status, reply.json["version"], reply.json["convergence"]), (202, 2, None))


class ArrivalTests(ChangeTests):
    """Listeners of measurements get the time of the request and of its commit."""

    def test_change_holds_the_times_of_its_post(self) -> None:
        clock = InstantReactor()
        store = SlowStore(a_draft(poll_interval=30), seconds=clock.seconds)
        self.harness = ControllerHarness(store, clock=clock)
        clock.advance(5)
        caller = self.ask(CONFIG, NEW, {}, {})
        clock.advance(2)
        self.assertEqual(self.harness.changes(), [])
        store.commit()
        self.assertEqual(self.answered(caller).status, 200)
        (change,) = self.harness.changes()
        self.assertEqual((change.value.posted, change.value.commit_ms), (5.0, 2000.0))
        self.assertEqual(change.value.version.author, "admin")

    def test_a_retry_makes_no_change(self) -> None:
        self.publish(headers={"Idempotency-Key": "k"})
        changes = self.harness.changes()
        self.publish(headers={"Idempotency-Key": "k"})
        self.assertEqual(self.harness.changes(), changes)
