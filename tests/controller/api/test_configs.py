"""The paths of configurations and namespaces, as a caller meets them."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from confd.codec.announcement import read
from confd.codec.signing import KeyRing
from confd.controller.configs.publishers import DELIVERY_WAIT_SECONDS, RETRY_MAX_SECONDS
from confd.model import DEFAULT_NAMESPACE
from confd.testing.brokers import MemoryBroker
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore
from tests.controller.harness import ADMIN, AGENT, ControllerHarness
from tests.conversation import Conversation, Reply

CONFIG = "/api/v1/config"
URL = {"url": "http://127.0.0.1/"}


class PollTests(SynchronousTestCase):
    """GET C{/api/v1/config}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def poll(self, known: str | None = None, **headers: str) -> Reply:
        """One poll."""
        if known is not None:
            headers["If-None-Match"] = known
        return self.harness.caller().get(CONFIG, auth=AGENT, headers=headers)

    def test_body(self) -> None:
        """All that the contract lists."""
        reply = self.poll()
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.headers["etag"], f'"{self.harness.identity.cluster_id[:8]}.1.1"')
        self.assertEqual(reply.json["data"], {"url": "https://ip.me", "n": 0})
        self.assertEqual(reply.json["version"], 1)
        self.assertEqual(reply.json["poll_interval_seconds"], 30)
        self.assertEqual(reply.json["epoch"], 1)
        self.assertEqual(reply.json["cluster_id"], self.harness.identity.cluster_id)
        self.assertRegex(reply.json["checksum"], "^sha256:[0-9a-f]{64}$")
        self.assertRegex(reply.json["updated_at"], r"^\d{4}-\d\d-\d\dT[\d:.]+Z$")

    def test_not_modified(self) -> None:
        """The tag in each of its forms, and what the Go agents send."""
        tag = self.harness.tag()
        for known in (f'"{tag}"', f'W/"{tag}"', tag, f'"x", "{tag}"', "*", "1", '"1"', 'W/"1"', f'"other" , W/"{tag}"'):
            reply = self.poll(known)
            self.assertEqual((reply.status, reply.body), (304, b""), known)
            self.assertEqual(reply.headers["etag"], f'"{tag}"')
            self.assertEqual(reply.headers["x-config-checksum"], self.poll().json["checksum"])

    def test_the_tag_alone_and_in_a_list(self) -> None:
        """The short way of the usual header ends where the way of a list does."""
        for interval in (None, 5, 30):
            if interval is not None:
                self.publish(URL, f"?poll_interval={interval}")
            for headers in ({}, {"X-Agent-ID": self.harness.join()}, {"X-Agent-ID": "unknown"}):
                replies = [self.poll(f'"{self.harness.tag()}"{rest}', **headers) for rest in ("", ', "x"')]
                for reply in replies:
                    del reply.headers["x-request-id"]
                self.assertEqual(replies[0].status, 304)
                self.assertEqual(*[(reply.status, reply.body, reply.headers) for reply in replies])

    def test_modified(self) -> None:
        """Any other tag is answered with the document."""
        self.publish(URL)
        for known in ("1", '"3"', "7", '"0a0a0a0a.1.1"', '""', "", ",", '"unclosed', f'"{self.harness.tag()}0"'):
            self.assertEqual(self.poll(known).status, 200, known)

    def publish(self, document: object, query: str = "") -> None:
        """One publish."""
        self.assertEqual(self.harness.caller().post(CONFIG + query, json=document, auth=ADMIN).status, 200)

    def test_other_system(self) -> None:
        """Who holds a document of another system keeps it until something is published; a fresh agent gets it all."""
        for headers in ({}, {"X-Agent-ID": self.harness.join()}, {"X-Agent-ID": "unknown"}):
            for known in ("5", '"5"', 'W/"12"'):
                reply = self.poll(known, **headers)
                self.assertEqual((reply.status, reply.body), (304, b""), known)
                self.assertNotIn("x-config-checksum", reply.headers)
                self.assertNotIn("etag", reply.headers)
            for known in (None, "0", '""', '"05"', "0a0a0a0a.1.5"):
                self.assertEqual(self.poll(known, **headers).status, 200, known)
        self.assertEqual(self.poll("1", **{"X-Agent-ID": self.harness.join()}).headers.get("etag"), None)
        self.publish(URL)
        for headers in ({}, {"X-Agent-ID": self.harness.join()}):
            self.assertEqual(self.poll("5", **headers).json["version"], 2)

    def test_other_system_remembered(self) -> None:
        """A poll that is repeated on the same connection notices the first publish, too."""
        caller = self.harness.caller()
        self.assertEqual(
            [caller.get(CONFIG, auth=AGENT, headers={"If-None-Match": "5"}).status for _ in range(3)], [304] * 3
        )
        self.publish(URL)
        self.assertEqual(caller.get(CONFIG, auth=AGENT, headers={"If-None-Match": "5"}).status, 200)

    def test_interval_of_go_agents(self) -> None:
        """A bare number without an id learns a poll interval other than 30 s from a 200."""
        agent_id = self.harness.join()
        caller = self.harness.caller()

        def bare(version: int) -> int:
            return caller.get(CONFIG, auth=AGENT, headers={"If-None-Match": f'"{version}"'}).status

        self.publish(URL)
        self.assertEqual([bare(2), bare(2)], [304, 304])
        self.publish(URL, "?poll_interval=5")
        self.assertEqual([bare(3), bare(3)], [200, 200])
        self.assertEqual(self.poll("3").json["poll_interval_seconds"], 5)
        for known, headers in ((self.harness.tag(), {}), ("*", {}), ("3", {"X-Agent-ID": agent_id})):
            self.assertEqual(self.poll(known, **headers).status, 304, known)
        self.publish(URL, "?poll_interval=30")
        self.assertEqual([bare(4), bare(4), bare(3)], [304, 304, 200])

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
    def test_any_header(self, known: str) -> None:
        """Whatever the header holds, the answer is one of the two."""
        self.assertIn(self.poll(known).status, (200, 304))

    def test_reads_no_database(self) -> None:
        """A poll is answered while the storage hangs (promise G12)."""
        self.harness.store.current = self.harness.store.publish = lambda *_: Deferred()
        self.assertEqual(self.poll().status, 200)

    def test_admin_reads(self) -> None:
        """An admin may read what an agent may."""
        self.assertEqual(self.harness.caller().get(CONFIG, auth=ADMIN).status, 200)

    def test_namespaces(self) -> None:
        """Each has its own document; one that does not exist is said."""
        self.assertEqual(self.harness.caller().get(f"{CONFIG}?namespace=nowhere", auth=AGENT).code, "unknown_namespace")

    def test_starting(self) -> None:
        """Until the configurations are loaded the answer is 503, not 404."""
        harness = ControllerHarness(started=False)
        for path in (CONFIG, "/api/v1/agents/x", "/api/v1/agents", "/api/v1/namespaces"):
            reply = harness.caller().get(path, auth=ADMIN)
            self.assertEqual((reply.status, reply.code), (503, "starting"), path)
        for path in ("/ready", "/health"):
            self.assertEqual(harness.caller().get(path).status, 503)
        harness.start()
        self.assertEqual(harness.caller().get("/health").status, 200)


class PublishTests(SynchronousTestCase):
    """POST C{/api/v1/config}."""

    def setUp(self) -> None:
        self.harness = ControllerHarness()

    def publish(self, document: object = URL, query: str = "", **headers: str) -> Reply:
        """One publish."""
        return self.harness.caller().post(CONFIG + query, json=document, auth=ADMIN, headers=headers)

    def interval(self) -> int:
        """The current poll interval."""
        return self.harness.snapshot.require(DEFAULT_NAMESPACE).configuration.poll_interval

    def test_answer(self) -> None:
        """The words of the Go system, and the new tag."""
        reply = self.publish()
        self.assertEqual(
            {name: reply.json[name] for name in ("message", "version", "epoch")},
            {"message": "Configuration updated successfully", "version": 2, "epoch": 1},
        )
        self.assertEqual(reply.headers["etag"], f'"{self.harness.tag()}"')
        self.assertEqual(self.harness.caller().get(CONFIG, auth=AGENT).json["data"], URL)

    def test_document_comes_back_as_it_was(self) -> None:
        """Keys keep their order, numbers their form."""
        body = b'{"url":"http://x","b":1.0,"a":[1e3,-0.0,"\\u00e9"]}'
        self.harness.caller().post(
            CONFIG, body=body, auth=ADMIN, headers={"Content-Type": "application/json; charset=utf-8"}
        )
        answer = self.harness.caller().get(CONFIG, auth=AGENT).body
        self.assertIn('{"url":"http://x","b":1.0,"a":[1000.0,-0.0,"é"]}'.encode(), answer)

    def test_poll_interval(self) -> None:
        """Absent keeps the current one; what is not 1 to 86400 changes nothing."""
        self.assertEqual(self.publish(query="?poll_interval=7").status, 200)
        self.assertEqual(self.interval(), 7)
        self.assertEqual(self.publish().status, 200)
        self.assertEqual(self.interval(), 7)
        for bad in ("0", "-5", "abc", "86401", "9999999999", "9" * 400, "1.5", "", "true", "1e2", "%20"):
            reply = self.publish(query=f"?poll_interval={bad}")
            self.assertEqual(reply.status, 400, bad)
            self.assertEqual(reply.json["details"][0]["pointer"], "/poll_interval", bad)
        self.assertEqual(self.harness.tag()[-2:], ".3")

    def test_if_match(self) -> None:
        """Only who knows the current configuration may replace it."""
        tag = self.harness.tag()
        self.assertEqual(self.publish(**{"If-Match": f'"{tag}"'}).status, 200)
        reply = self.publish(**{"If-Match": f'"{tag}"'})
        self.assertEqual((reply.status, reply.code), (412, "version_mismatch"))
        self.assertEqual(self.publish(**{"If-Match": "*"}).status, 200)
        self.assertEqual(self.publish(**{"If-Match": ""}).status, 412)

    def test_idempotency(self) -> None:
        """A retry gets the first answer; the same key for another document is a mistake (F-43)."""
        first = self.publish(**{"Idempotency-Key": "k"})
        self.publish({"url": "http://between/"})
        self.assertEqual(self.publish(**{"Idempotency-Key": "k"}).body, first.body)
        self.assertEqual(self.harness.tag()[-2:], ".3")
        self.assertEqual(self.publish({"url": "http://other/"}, **{"Idempotency-Key": "k"}).status, 422)
        for bad in ("", "x" * 256):
            self.assertEqual(self.publish(**{"Idempotency-Key": bad}).code, "bad_idempotency_key")

    def test_refused_documents(self) -> None:
        """Each with its status, and nothing is published."""
        cases: list[tuple[object, int]] = [
            ({}, 422),
            ({"url": "gopher://x"}, 422),
            ({"url": None}, 422),
            ({"url": "http://x", "n": 2**53}, 422),
            ([], 400),
            ("http://x", 400),
        ]
        for document, status in cases:
            self.assertEqual(self.publish(document).status, status, document)
        raw: list[tuple[bytes, int]] = [
            (b'{"url":"http://x","url":"http://y"}', 400),
            (b'{"url":"http://x"} trailing', 400),
            (b'{"url":"http://x","n":NaN}', 400),
            (b"", 400),
        ]
        for body, status in raw:
            headers = {"Content-Type": "application/json"}
            reply = self.harness.caller().post(CONFIG, body=body, auth=ADMIN, headers=headers)
            self.assertEqual(reply.status, status, body)
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            headers = {"Content-Type": kind}
            reply = self.harness.caller().post(CONFIG, body=b'{"url":"http://x"}', auth=ADMIN, headers=headers)
            self.assertEqual(reply.status, 415, kind)
        self.assertEqual(self.harness.tag()[-2:], ".1")

    def test_roles(self) -> None:
        """An agent may not publish."""
        self.assertEqual(self.harness.caller().post(CONFIG, json=URL, auth=AGENT).status, 403)
        self.assertEqual(self.harness.caller().post(CONFIG, json=URL).status, 401)
        self.assertEqual(self.harness.tag()[-2:], ".1")

    def test_misspelt_parameter(self) -> None:
        """It is refused: one that is ignored would publish what was only to be tried."""
        self.assertEqual(self.publish(query="?poll_intervall=7").status, 400)

    def test_storage_fails(self) -> None:
        """503 with the reason; reads go on, and no version is lost (promise G12)."""
        self.harness.store.broken = "the disk is full"
        reply = self.publish()
        self.assertEqual(reply.status, 503)
        self.assertIn("the disk is full", reply.json["error"])
        self.assertEqual(self.harness.caller().get(CONFIG, auth=AGENT).status, 200)
        self.assertEqual(self.harness.caller().get("/ready").status, 503)
        self.harness.store.broken = None
        self.assertEqual(self.publish().json["version"], 2)
        self.assertEqual(self.harness.caller().get("/ready").status, 200)

    def test_caller_hangs_up(self) -> None:
        """What is committed is current, whether or not anybody waits for the answer (klein#546)."""
        store = SlowStore(a_draft(poll_interval=30))
        harness = ControllerHarness(store)
        caller = harness.caller()
        caller.ask("POST", CONFIG, json=URL, auth=ADMIN)
        caller.hang_up()
        store.commit()
        self.assertEqual(harness.caller().get(CONFIG, auth=AGENT).json["version"], 2)

    def test_answered_after_the_commit(self) -> None:
        """Not before it, and polls see the old version until then (promise G1)."""
        store = SlowStore(a_draft(poll_interval=30))
        harness = ControllerHarness(store)
        caller = harness.caller()
        caller.ask("POST", CONFIG, json=URL, auth=ADMIN)
        self.assertIsNone(caller.answer())
        self.assertEqual(harness.caller().get(CONFIG, auth=AGENT).json["version"], 1)
        store.commit()
        reply = caller.answer()
        assert reply is not None
        self.assertEqual(reply.json["version"], 2)


class PushTests(SynchronousTestCase):
    """What is said of brokers and keys."""

    def setUp(self) -> None:
        self.broker = MemoryBroker()
        self.broker.startService()
        self.harness = ControllerHarness(brokers=[self.broker])

    def publish(self) -> Conversation:
        """Somebody who publishes."""
        caller = self.harness.caller()
        caller.ask("POST", CONFIG, json=URL, auth=ADMIN)
        return caller

    def published(self, caller: Conversation) -> object:
        """What the answer says, which must be there."""
        reply = caller.answer()
        assert reply is not None
        self.assertEqual(reply.status, 200)
        return reply.json["published"]

    def rotate(self) -> str:
        """Sign with a new key; returns its public half."""
        reply = self.harness.caller().post("/api/v1/signing-key/rotate", auth=ADMIN)
        self.assertEqual(reply.status, 200)
        key: str = reply.json["signing_key"]
        return key

    def entries(self) -> dict[str, Any]:
        """What a poll says."""
        body: dict[str, Any] = self.harness.caller().get(CONFIG, auth=AGENT).json
        return body

    def believed(self, *publics: str) -> bool:
        """Whether one of these keys signed what the broker has."""
        ring = KeyRing()
        ring.trust(publics)
        return read(self.broker.server.kept["default"]).verified(ring)

    def test_published(self) -> None:
        self.assertIs(self.published(self.publish()), True)
        self.assertEqual(read(self.broker.server.kept["default"]).configuration.version, 2)

    def test_without_brokers(self) -> None:
        self.harness = ControllerHarness()
        self.assertIs(self.published(self.publish()), True)

    def test_broker_is_down(self) -> None:
        """It is said at once, and made up for when the broker is back."""
        self.broker.server.fail("It is down.")
        self.assertIs(self.published(self.publish()), False)
        self.broker.server.come_back()
        self.harness.clock.advance(RETRY_MAX_SECONDS)
        self.assertEqual(read(self.broker.server.kept["default"]).configuration.version, 2)

    def test_broker_hangs(self) -> None:
        """Promise G4: the answer comes as fast."""
        self.broker.announce = lambda *_: Deferred()  # type: ignore[method-assign]
        caller = self.publish()
        self.harness.clock.advance(DELIVERY_WAIT_SECONDS)
        self.assertIs(self.published(caller), False)

    def test_broker_with_a_defect(self) -> None:
        """What follows the commit cannot fail the request."""
        self.broker.announce = lambda *_: 1 / 0  # type: ignore[method-assign]
        caller = self.publish()
        self.harness.clock.advance(DELIVERY_WAIT_SECONDS)
        self.assertIs(self.published(caller), False)
        self.assertEqual(self.entries()["version"], 2)
        self.assertTrue(self.flushLoggedErrors(ZeroDivisionError))

    def test_keys_in_the_body(self) -> None:
        self.publish()
        entries = self.entries()
        self.assertEqual(entries["signing_keys"], [entries["signing_key"]])
        self.assertEqual(entries["signing_key"], self.harness.identity.keys[0].public)
        self.assertTrue(self.believed(entries["signing_key"]))

    def test_rotation(self) -> None:
        """The new key signs, the one before stays good, and the current configuration is announced anew."""
        self.publish()
        first = self.entries()["signing_key"]
        second = self.rotate()
        self.assertEqual(self.entries()["signing_keys"], [second, first])
        self.assertTrue(self.believed(second))
        self.assertFalse(self.believed(first))
        third = self.rotate()
        self.assertEqual(self.entries()["signing_keys"], [third, second])
        self.assertEqual(self.entries()["version"], 2)

    def test_header(self) -> None:
        """Each answer names the valid keys, also a cached one after a rotation."""
        self.publish()
        caller, before = self.harness.caller(), ""
        for _ in range(3):
            keys = ",".join(key.key_id for key in self.harness.identity.keys)
            self.assertNotEqual(keys, before)
            etag = f'"{self.harness.tag()}"'
            for headers in ({}, {"If-None-Match": etag}) * 2:
                reply = caller.get("/api/v1/config", auth=AGENT, headers=headers)
                self.assertEqual((reply.status, reply.headers["x-config-keys"]), (304 if headers else 200, keys))
            before = keys
            self.rotate()

    def test_unpublished(self) -> None:
        """What nobody published is announced at no start and no rotation, and is no answer to a broker's request."""
        self.rotate()
        self.assertEqual(self.broker.server.kept, {})
        self.assertIsNone(self.harness.snapshot.announcement("default"))
        self.publish()
        self.assertEqual(read(self.broker.server.kept["default"]).configuration.version, 2)
        self.assertIsNotNone(self.harness.snapshot.announcement("default"))

    def test_first_version_of_a_namespace(self) -> None:
        """An administrator made it."""
        body = {"name": "edge", "config": URL}
        self.assertEqual(self.harness.caller().post("/api/v1/namespaces", json=body, auth=ADMIN).status, 201)
        self.assertEqual(read(self.broker.server.kept["edge"]).configuration.version, 1)

    def test_who_may_rotate(self) -> None:
        before = self.entries()["signing_keys"]
        for auth, status in ((None, 401), (AGENT, 403)):
            self.assertEqual(self.harness.caller().post("/api/v1/signing-key/rotate", auth=auth).status, status)
        self.harness.store.broken = "the disk is full"
        self.assertEqual(self.harness.caller().post("/api/v1/signing-key/rotate", auth=ADMIN).status, 503)
        self.assertEqual(self.entries()["signing_keys"], before)

    def test_nothing_tells_a_private_key(self) -> None:
        self.publish()
        private = self.harness.identity.keys[0].private_bytes()
        seen = self.harness.caller().get(CONFIG, auth=ADMIN).body + self.broker.server.kept["default"]
        for secret in (private.hex().encode(), base64.b64encode(private).rstrip(b"=")):
            self.assertNotIn(secret, seen)


class SlowStore(MemoryStore):
    """Commits when it is asked to."""

    def publish(self, draft):  # type: ignore[no-untyped-def]
        """Later."""
        self._waiting = Deferred().addCallback(lambda _: MemoryStore.publish(self, draft))
        return self._waiting

    def commit(self) -> None:
        """Now."""
        self._waiting.callback(None)
