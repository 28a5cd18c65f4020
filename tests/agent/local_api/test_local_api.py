"""Tests of L{confd.agent.local_api}: the requests of programs on the machine, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.local_api.composition import MAX_CONNECTIONS, compose_local_api
from confd.agent.local_api.config import MAX_WAITING
from confd.model import Configuration
from confd.runtime.options import read
from confd.runtime.settings import AgentSettings
from tests.agent.fakes import configuration
from tests.conversation import ELSEWHERE, Conversation, Reply
from tests.reactors import InstantReactor

FLAGS = {
    "on": True,
    "ratio": 0.5,
    "count": 3,
    "name": "blue",
    "limits": {"a": 1},
    "list": [1],
    "nothing": None,
    "a/b": "slash",
    "größe": 1,
}


class LocalApiTestCase(SynchronousTestCase):
    """A test of the composed API."""

    settings: dict[str, str] = {}

    def setUp(self) -> None:
        self.reactor: Any = InstantReactor()
        self.applied: Configuration | None = None
        endpoint = "tcp:0:interface=127.0.0.1"
        settings = read(AgentSettings, {"AGENT_API_LISTEN": endpoint, **self.settings}, {})
        self.api = compose_local_api(self.reactor, settings, self.settings, endpoint, lambda: self.applied)
        self.site: Any = self.api.listener.factory
        self.config = self.api.services[-1]
        self.config.startService()

    def apply(self, version: int, **data: Any) -> str:
        """Apply a version, and return its tag."""
        self.applied = configuration(version, data={"url": f"https://example.org/{version}", **data})
        self.api.changed()
        return str(self.applied.tag)

    def connect(self, **given: Any) -> Conversation:
        """Open a connection."""
        return Conversation(self.site, self.reactor, **given)

    def get(self, path: str, **headers: str) -> Reply:
        """Return the answer to a GET request."""
        return self.connect().get(path, headers={name.replace("_", "-"): text for name, text in headers.items()})

    def post(self, path: str, **carried: Any) -> Reply:
        """Return the answer to a POST request."""
        return self.connect().post(path, **carried)


class ConfigTests(LocalApiTestCase):
    """C{/config}."""

    def test_before_anything_is_applied_it_answers_404(self) -> None:
        for path in ("/config", "/config?pointer=/url", "/config?wait=5"):
            reply = self.get(path)
            self.assertEqual((reply.status, reply.code), (404, "not_applied"), path)

    def test_the_applied_document_comes_with_its_tag(self) -> None:
        tag = self.apply(7)
        reply = self.get("/config")
        self.assertEqual((reply.status, reply.json), (200, {"url": "https://example.org/7"}))
        self.assertEqual((reply.headers["etag"], reply.headers["x-config-version"]), (f'"{tag}"', tag))

    def test_a_pointer_selects_a_part(self) -> None:
        self.apply(1, db={"hosts": ["a", "b"], "~/": None}, **{"": 5})
        for pointer, value in (
            ("/db/hosts/1", "b"), ("/db", {"hosts": ["a", "b"], "~/": None}), ("/db/~0~1", None), ("/", 5),
        ):  # fmt: skip
            self.assertEqual(self.get(f"/config?pointer={pointer}").json, value, pointer)
        for pointer in ("/nope", "/db/hosts/2", "/db/hosts/-", "/url/x"):
            reply = self.get(f"/config?pointer={pointer}")
            self.assertEqual((reply.status, reply.code), (404, "no_such_pointer"), pointer)

    def test_wrong_queries_are_refused(self) -> None:
        self.apply(1)
        for query in ("pointer=url", "pointer=/~2", "wait=0", "wait=61", "wait=x", "wait=1.5", "other=1"):
            reply = self.get(f"/config?{query}")
            self.assertEqual((reply.status, reply.code), (400, "bad_field"), query)

    def test_a_caller_with_the_tag_gets_304(self) -> None:
        tag = self.apply(1)
        for known in (f'"{tag}"', f'"x", W/"{tag}"', "*"):
            reply = self.get("/config?pointer=/nope", If_None_Match=known)
            self.assertEqual((reply.status, reply.headers["etag"], reply.body), (304, f'"{tag}"', b""), known)
        self.assertEqual(self.get("/config", If_None_Match='"other"').status, 200)

    def test_a_wait_ends_with_the_next_document(self) -> None:
        tag = self.apply(1)
        connection = self.connect()
        connection.ask("GET", "/config?pointer=/url&wait=60", headers={"If-None-Match": f'"{tag}"'})
        self.reactor.advance(59)
        self.assertIsNone(connection.answer())
        self.api.changed()
        self.assertIsNone(connection.answer(), "a repair of the same document ended the wait")
        self.apply(2)
        reply: Any = connection.answer()
        self.assertEqual((reply.status, reply.json), (200, "https://example.org/2"))

    def test_a_wait_ends_with_304_when_its_time_is_over(self) -> None:
        tag = self.apply(1)
        connection = self.connect()
        connection.ask("GET", "/config?wait=5", headers={"If-None-Match": f'"{tag}"'})
        self.reactor.advance(4.9)
        self.assertIsNone(connection.answer())
        self.reactor.advance(0.2)
        reply: Any = connection.answer()
        self.assertEqual((reply.status, reply.headers["etag"]), (304, f'"{tag}"'))

    def test_a_wait_for_another_tag_ends_at_once(self) -> None:
        self.apply(2)
        self.assertEqual(self.get("/config?wait=60", If_None_Match='"1"').status, 200)
        self.assertEqual(self.get("/config?wait=60").status, 200)

    def test_a_wait_begins_before_the_first_document(self) -> None:
        connection = self.connect()
        connection.ask("GET", "/config?wait=60", headers={"If-None-Match": '"1"'})
        self.assertIsNone(connection.answer())
        self.apply(1)
        self.assertEqual(connection.answer().status, 200)  # type: ignore[union-attr]

    def test_only_so_many_requests_wait(self) -> None:
        tag = self.apply(1)
        waiting = [self.connect() for _ in range(MAX_WAITING)]
        for each in waiting:
            each.ask("GET", "/config?wait=60", headers={"If-None-Match": f'"{tag}"'})
        reply = self.get("/config?wait=60", If_None_Match=f'"{tag}"')
        self.assertEqual((reply.status, reply.code), (503, "too_many_waiting"))
        self.assertEqual(self.get("/config").status, 200)
        waiting.pop().hang_up()
        waiting.append(self.connect())
        waiting[-1].ask("GET", "/config?wait=60", headers={"If-None-Match": f'"{tag}"'})
        self.assertIsNone(waiting[-1].answer(), "the place of a client that hung up is not free")
        self.apply(2)
        self.assertEqual({each.answer().status for each in waiting}, {200})  # type: ignore[union-attr]
        self.assertLess(MAX_WAITING, MAX_CONNECTIONS)

    def test_a_stop_ends_all_waits(self) -> None:
        tag = self.apply(1)
        connection = self.connect()
        connection.ask("GET", "/config?wait=60", headers={"If-None-Match": f'"{tag}"'})
        self.config.stopService()
        self.assertEqual(connection.answer().status, 304)  # type: ignore[union-attr]
        self.assertEqual(self.get("/config?wait=60", If_None_Match=f'"{tag}"').status, 304)

    def test_a_large_document_is_decoded_once_and_in_a_thread(self) -> None:
        self.apply(1, large=["x" * 100] * 1000, flags=FLAGS)
        self.assertEqual((self.get("/config").status, self.reactor.threaded), (200, []))
        for _ in range(3):
            self.assertEqual(self.get("/config?pointer=/flags/count").json, 3)
            self.assertEqual(self.post("/ofrep/v1/evaluate/flags/count").json["value"], 3)
        self.assertEqual(len(self.reactor.threaded), 1 + 6)

    def test_a_part_is_that_of_the_newest_document(self) -> None:
        for version in (1, 2):
            self.apply(version, flags={"version": version})
            self.assertEqual(self.get("/config?pointer=/flags/version").json, version)
            self.assertEqual(self.post("/ofrep/v1/evaluate/flags/version", json={}).json["value"], version)

    def test_readers_of_a_large_document_share_one_decoding(self) -> None:
        self.reactor.threads_busy = True
        self.apply(1, large=["x" * 100] * 1000)
        connections = [self.connect() for _ in range(3)]
        for each in connections:
            each.ask("GET", "/config?pointer=/url")
        self.assertEqual(len(self.reactor.threaded), 1)
        for each in reversed(connections):
            each.hang_up()

    def test_a_small_document_needs_no_thread(self) -> None:
        self.apply(1)
        self.get("/config?pointer=/url")
        self.assertEqual(self.reactor.threaded, [])


class OfrepTests(LocalApiTestCase):
    """The endpoints of OFREP."""

    def test_all_flags_come_with_the_tag_as_their_variant(self) -> None:
        tag = self.apply(1, flags=FLAGS)
        reply = self.post("/ofrep/v1/evaluate/flags", json={"context": {"targetingKey": "me", "deep": {"a": [1]}}})
        self.assertEqual((reply.status, reply.headers["etag"]), (200, f'"{tag}"'))
        found = {each.pop("key"): each for each in reply.json["flags"]}
        self.assertEqual(set(found), set(FLAGS) - {"list", "nothing"})
        self.assertEqual(found["on"], {"value": True, "reason": "STATIC", "variant": tag, "metadata": {}})
        reply = self.connect().post(
            "/ofrep/v1/evaluate/flags", json={}, headers={"If-None-Match": reply.headers["etag"]}
        )
        self.assertEqual((reply.status, reply.body), (304, b""))

    def test_one_flag(self) -> None:
        tag = self.apply(1, flags=FLAGS)
        for key, path in (("on", "on"), ("limits", "limits"), ("a/b", "a/b"), ("größe", "gr%C3%B6%C3%9Fe")):
            reply = self.post(f"/ofrep/v1/evaluate/flags/{path}", json={"context": {}})
            wanted = {"key": key, "value": FLAGS[key], "reason": "STATIC", "variant": tag, "metadata": {}}
            self.assertEqual((reply.status, reply.json), (200, wanted), path)

    def test_members_that_are_no_flags_are_not_found(self) -> None:
        self.apply(1, flags=FLAGS)
        for key in ("list", "nothing", "nope", "url"):
            reply = self.post(f"/ofrep/v1/evaluate/flags/{key}", json={})
            self.assertEqual((reply.status, reply.json["key"]), (404, key))
            self.assertEqual(reply.json["errorCode"], "FLAG_NOT_FOUND")
            self.assertIn(repr(key), reply.json["errorDetails"])

    def test_a_document_without_flags_has_none(self) -> None:
        for flags in ({}, {"flags": [1]}, {"flags": None}):
            self.apply(1, **flags)
            self.assertEqual(self.post("/ofrep/v1/evaluate/flags", json={}).json, {"flags": []})
            self.assertEqual(self.post("/ofrep/v1/evaluate/flags/0", json={}).json["errorCode"], "FLAG_NOT_FOUND")

    def test_a_body_that_is_no_json_object_is_a_parse_error(self) -> None:
        self.apply(1, flags=FLAGS)
        for body, status in ((b"{", 400), (b"\xff", 400), (b"[]", 400), (b"x" * 9000, 400), (b" " * 65537, 413)):
            for path in ("/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/on"):
                reply = self.post(path, body=body, headers={"Content-Type": "application/json"})
                self.assertEqual(reply.status, status, body[:9])
                if status == 400:
                    self.assertEqual(reply.json["errorCode"], "PARSE_ERROR")
        self.assertEqual(reply.status, 413)

    def test_before_anything_is_applied_it_answers_503(self) -> None:
        for path in ("/ofrep/v1/evaluate/flags", "/ofrep/v1/evaluate/flags/on"):
            reply = self.post(path, json={})
            self.assertEqual((reply.status, reply.json["errorCode"]), (503, "GENERAL"), path)


class OtherPointerTests(LocalApiTestCase):
    """OFREP_POINTER."""

    settings = {"OFREP_POINTER": "/app/features"}

    def test_flags_are_the_members_of_the_object_there(self) -> None:
        self.apply(1, app={"features": {"on": True}}, flags={"off": False})
        self.assertEqual([each["key"] for each in self.post("/ofrep/v1/evaluate/flags", json={}).json["flags"]], ["on"])


class LocalTests(LocalApiTestCase):
    """Callers without a token."""

    def test_web_pages_are_refused(self) -> None:
        self.apply(1)
        for headers in (
            {"Origin": "http://127.0.0.1:8083"}, {"Origin": "null"}, {"Host": "evil.example"}, {"Host": "10.0.0.1"},
        ):  # fmt: skip
            reply = self.get("/config", **headers)
            self.assertEqual((reply.status, reply.code), (403, "not_local"), headers)
            reply = self.post("/ofrep/v1/evaluate/flags", json={}, headers=headers)
            self.assertEqual((reply.status, reply.json["errorCode"]), (403, "GENERAL"), headers)

    def test_local_names_pass(self) -> None:
        self.apply(1)
        for host in ("localhost:8083", "127.0.0.1:8083", "[::1]:8083", "app.localhost"):
            self.assertEqual(self.get("/config", Host=host).status, 200, host)

    def test_clients_of_a_unix_socket_may_name_any_host(self) -> None:
        self.apply(1)
        connection = self.connect(peer=UNIXAddress(None))
        self.assertEqual(connection.get("/config", headers={"Host": "agent"}).status, 200)
        self.assertEqual(connection.get("/config", headers={"Origin": "http://agent"}).status, 403)


class TokenTests(LocalApiTestCase):
    """Callers with a token."""

    settings = {"AGENT_API_TOKEN": "s3cret"}

    def test_the_token_is_required_of_everyone(self) -> None:
        self.apply(1)
        for headers in ({}, {"Authorization": "Basic czNjcmV0Og=="}, {"Authorization": "Bearer wrong"}):
            reply = self.get("/config", **headers)
            self.assertEqual((reply.status, reply.headers["www-authenticate"]), (401, 'Bearer realm="confd"'))
            self.assertEqual(self.post("/ofrep/v1/evaluate/flags", json={}, headers=headers).status, 401)

    def test_the_token_opens_it_from_everywhere_and_by_any_name(self) -> None:
        self.apply(1)
        for spelled in ("Bearer s3cret", "bearer  s3cret "):
            reply = self.connect(peer=ELSEWHERE).get("/config", headers={"Authorization": spelled, "Host": "edge-1"})
            self.assertEqual(reply.status, 200, spelled)

    def test_an_address_with_too_many_wrong_tokens_waits(self) -> None:
        self.apply(1)
        found = [
            self.connect(peer=ELSEWHERE).get("/config", headers={"Authorization": f"Bearer {number}"}).status
            for number in range(12)
        ]
        self.assertEqual(found, [401] * 10 + [429] * 2)

    def test_a_new_token_replaces_the_old_one(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / "token"
        path.write_text("first\n")
        environ = {"AGENT_API_TOKEN_FILE": str(path)}
        settings = read(AgentSettings, {}, environ)
        self.applied = configuration(1)
        api = compose_local_api(self.reactor, settings, environ, "tcp:0", lambda: self.applied)
        self.site = api.listener.factory
        files: Any = api.services[0]
        files.startService()
        self.addCleanup(files.stopService)
        self.assertEqual(self.get("/config", Authorization="Bearer first").status, 200)
        path.write_text("second\n")
        files.reload()
        self.reactor.advance(0)
        self.assertEqual(self.get("/config", Authorization="Bearer second").status, 200)
        self.assertEqual(self.get("/config", Authorization="Bearer first").status, 401)
