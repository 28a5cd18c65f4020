"""Tests of L{confd.worker.api}, over HTTP in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from confd.codec import strict_json
from confd.errors import BadGateway
from confd.web.auth.basic import BasicAuth, Credential, IAuthenticator, LoopbackAuth
from confd.web.auth.principals import Principal, Role
from confd.web.health import Readiness
from confd.web.server.site import Limits
from confd.worker.api import WorkerApi
from confd.worker.current import CurrentConfig
from tests.conversation import ELSEWHERE, LOOPBACK, Conversation, serve

NOW = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=UTC)
ANYONE_HERE = LoopbackAuth(Principal.shared("loopback", Role.AGENT))
CREDENTIALS = ("worker", "w0rd")
DOCUMENT = {"url": "https://ip.me", "more": {"b": 1, "a": [1.0, "ü"]}}
TAG = "0a1b2c3d.1.7"


class FakeUpstream:
    """An upstream that answers at once, with the URL or with an error."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def fetch(self, url: str, request: Any) -> Deferred[None]:
        if self.error is not None:
            return fail(self.error)
        request.setResponseCode(203)
        request.setHeader("Content-Type", "text/plain")
        request.write(url.encode())
        return succeed(None)


class WorkerCase(SynchronousTestCase):
    """A worker, and a connection to it from its own machine."""

    guard: IAuthenticator = ANYONE_HERE

    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream: Any = FakeUpstream()
        current = CurrentConfig(lambda: NOW)
        api = WorkerApi(current, self.upstream, "b007")
        ready = Readiness({"configuration": current})
        self.site = serve(self.clock, self.guard, api, ready, limits=Limits(body=4 * 1048576))
        self.caller = self.connect()

    def connect(self, peer: IAddress = LOOPBACK) -> Conversation:
        """Return a connection from a peer."""
        return Conversation(self.site, self.clock, peer)

    def deliver(self, document: Any, tag: str | None = None, **carried: Any) -> Any:
        """Post a configuration."""
        headers = {} if tag is None else {"X-Config-Version": tag}
        return self.caller.post("/config", json=document, headers=headers, **carried)


class ConfigTests(WorkerCase):
    """POST and GET C{/config}."""

    def test_worker_without_configuration_answers_404(self) -> None:
        reply = self.caller.get("/config")
        self.assertEqual((reply.status, reply.code), (404, "no_config"))

    def test_delivered_configuration_is_current_with_its_checksum(self) -> None:
        reply = self.deliver(DOCUMENT, TAG)
        self.assertEqual((reply.status, reply.json), (200, {"message": "Configuration updated"}))
        self.assertEqual(
            self.caller.get("/config").json,
            {
                "config": DOCUMENT,
                "version": TAG,
                "checksum": strict_json.checksum(DOCUMENT),
                "applied_at": "2026-11-24T12:00:00.250Z",
            },
        )

    def test_agent_of_the_go_system_needs_no_version_and_no_credentials(self) -> None:
        for url in ("https://ip.me", "https://ip.me", "https://api.github.com", "https://ip.me"):
            self.assertEqual(self.deliver({"url": url}).json, {"message": "Configuration updated"})
            found = self.caller.get("/config").json
            self.assertEqual((found["config"], found["version"]), ({"url": url}, None))

    def test_same_version_gets_200_and_older_or_other_content_gets_409(self) -> None:
        self.assertEqual(self.deliver(DOCUMENT, TAG).status, 200)
        self.assertEqual(self.deliver(DOCUMENT, TAG).status, 200)
        for document, tag, code in (
            (DOCUMENT, "0a1b2c3d.1.6", "older_version"),
            ({"url": "https://x"}, TAG, "other_content"),
        ):
            reply = self.deliver(document, tag)
            self.assertEqual((reply.status, reply.code), (409, code))
        self.assertEqual(self.caller.get("/config").json["config"], DOCUMENT)

    def test_unusable_configuration_gets_422_and_changes_nothing(self) -> None:
        self.deliver(DOCUMENT, TAG)
        for document, status, code in (
            ({}, 422, "unusable_config"),
            ({"url": "gopher://x"}, 422, "unusable_config"),
            ({"url": "https://ip.me", "n": 2**53}, 422, "integer_out_of_range"),
            (["https://ip.me"], 400, "not_an_object"),
        ):
            reply = self.deliver(document, "0a1b2c3d.1.8")
            self.assertEqual((reply.status, reply.code), (status, code))
        self.assertEqual(self.deliver({}).json["details"], [{"pointer": "/url", "message": "url must be a string"}])
        self.assertEqual(self.caller.get("/config").json["version"], TAG)

    def test_version_that_is_not_a_tag_gets_400(self) -> None:
        for tag in ("x", "", "1.2"):
            reply = self.deliver(DOCUMENT, tag)
            self.assertEqual((reply.status, reply.code), (400, "bad_version"))

    def test_body_that_is_not_strict_json_is_refused(self) -> None:
        for raw, headers, status in (
            (b'{"url":"http://a","url":"http://b"}', {"Content-Type": "application/json"}, 400),
            (b'{"url":"http://a"}', {"Content-Type": "text/plain"}, 415),
            (b'{"url":"http://a"}', {}, 415),
            (b'{"url":"http://a"}}', {"Content-Type": "application/json"}, 400),
            (b"", {"Content-Type": "application/json"}, 400),
        ):
            self.assertEqual(self.caller.post("/config", body=raw, headers=headers).status, status)
        self.assertEqual(self.caller.get("/config").status, 404)

    def test_largest_configuration_of_a_controller_is_accepted_and_more_gets_413(self) -> None:
        large = {"url": "http://a", "x": "x" * 3_000_000}
        self.assertEqual(self.deliver(large).status, 200)
        self.assertEqual(self.caller.get("/config").json["checksum"], strict_json.checksum(large))
        self.caller.ask("POST", "/config", json={"url": "http://a", "x": "x" * 5_000_000})
        self.assertEqual(self.caller.answer().status, 413)  # type: ignore[union-attr]

    def test_query_is_refused(self) -> None:
        self.assertEqual(self.caller.get("/config?x=1").status, 400)


class PreferTests(WorkerCase):
    """The preference of an agent for the document that the worker then holds."""

    def test_the_answer_is_that_of_a_get(self) -> None:
        for preference in ("return=representation", "wait=5, Return=Representation; a=b"):
            reply = self.caller.post("/config", json=DOCUMENT, headers={"X-Config-Version": TAG, "Prefer": preference})
            self.assertEqual(reply.headers["preference-applied"], "return=representation")
            self.assertEqual(reply.body, self.caller.get("/config").body)

    def test_another_preference_changes_nothing(self) -> None:
        for preference in ("return=minimal", "representation", "x-return=representation"):
            reply = self.caller.post("/config", json=DOCUMENT, headers={"Prefer": preference})
            self.assertEqual(reply.json, {"message": "Configuration updated"})
            self.assertNotIn("preference-applied", reply.headers)

    def test_a_refusal_is_that_without_the_preference(self) -> None:
        reply = self.caller.post("/config", json={"url": 1}, headers={"Prefer": "return=representation"})
        self.assertEqual((reply.status, reply.code), (422, "unusable_config"))


class WhoTests(WorkerCase):
    """A worker without credentials, which answers this machine."""

    def test_other_machine_may_not_read_or_replace_the_configuration(self) -> None:
        here, self.caller = self.caller, self.connect(ELSEWHERE)
        for reply in (self.deliver(DOCUMENT), self.caller.get("/config")):
            self.assertEqual((reply.status, reply.code), (403, "loopback_only"))
            self.assertIn("WORKER_USERNAME", reply.json["error"])
        self.assertEqual(here.get("/config").status, 404)
        self.assertEqual([self.caller.get(path).status for path in ("/hit", "/health", "/ready")], [503, 200, 503])

    def test_headers_do_not_make_another_machine_local(self) -> None:
        self.caller = self.connect(ELSEWHERE)
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Host", "Authorization"):
            reply = self.caller.post("/config", json=DOCUMENT, headers={name: "127.0.0.1"})
            self.assertEqual(reply.status, 403, name)

    def test_all_addresses_of_loopback_and_unix_sockets_are_local(self) -> None:
        for peer in (
            IPv6Address("TCP", "::1", 5),
            IPv6Address("TCP", "::ffff:127.0.0.1", 5),
            UNIXAddress(b"/run/worker.sock"),
        ):
            self.caller = self.connect(peer)
            self.assertEqual(self.deliver(DOCUMENT).status, 200)


class CredentialsTests(WorkerCase):
    """A worker with credentials."""

    guard = BasicAuth([Credential.of(*CREDENTIALS, Role.AGENT)])

    def test_credentials_are_accepted_from_anywhere(self) -> None:
        for peer in (LOOPBACK, ELSEWHERE):
            self.caller = self.connect(peer)
            self.assertEqual(self.deliver(DOCUMENT, auth=CREDENTIALS).status, 200)
            self.assertEqual(self.caller.get("/config", auth=CREDENTIALS).status, 200)

    def test_configuration_needs_credentials_on_this_machine_too(self) -> None:
        for auth in (None, ("worker", "wrong"), ("", "")):
            for reply in (self.deliver(DOCUMENT, auth=auth), self.caller.get("/config", auth=auth)):
                self.assertEqual(reply.status, 401)
                self.assertEqual(reply.headers["www-authenticate"], 'Basic realm="confd", charset="UTF-8"')
        self.assertEqual([self.caller.get(path).status for path in ("/hit", "/health", "/ready")], [503, 200, 503])


class HitTests(WorkerCase):
    """GET C{/hit}; how it fetches is in L{tests.worker.test_upstream}."""

    def test_hit_without_configuration_gets_503(self) -> None:
        reply = self.caller.get("/hit")
        self.assertEqual((reply.status, reply.code, reply.headers["retry-after"]), (503, "no_config", "1"))

    def test_hit_fetches_the_url_and_ignores_the_query(self) -> None:
        self.deliver(DOCUMENT)
        for path in ("/hit", "/hit?x=1", "/hit?url=http://169.254.169.254/&url=x"):
            reply = self.caller.get(path)
            self.assertEqual((reply.status, reply.body), (203, b"https://ip.me/"))
        self.assertEqual(self.caller.request("HEAD", "/hit").body, b"")
        self.assertEqual(self.caller.get("/health").status, 200)

    def test_hit_passes_the_error_of_the_upstream_on(self) -> None:
        self.deliver(DOCUMENT)
        self.upstream.error = BadGateway("upstream_failed", "The upstream closed the connection.")
        reply = self.caller.get("/hit")
        self.assertEqual((reply.status, reply.code), (502, "upstream_failed"))

    def test_hit_forwards_no_other_method(self) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            self.assertEqual(self.caller.request(method, "/hit").headers["allow"], "GET, HEAD")


class HealthTests(WorkerCase):
    """GET C{/health}."""

    def test_health_shows_whether_and_which_configuration_is_current(self) -> None:
        self.assertEqual(
            self.caller.get("/health").json,
            {"status": "ok", "has_config": False, "version": None, "boot_id": "b007"},
        )
        self.assertEqual(self.caller.get("/ready").json["error"], "The worker has no configuration yet.")
        self.deliver(DOCUMENT)
        self.assertEqual(
            self.caller.get("/health?x=1").json,
            {"status": "ok", "has_config": True, "version": None, "boot_id": "b007"},
        )
        self.deliver(DOCUMENT, TAG)
        self.assertEqual(self.caller.get("/health").json["version"], TAG)
        self.assertEqual(self.caller.get("/ready").json, {"status": "ready"})
