"""API tokens over HTTP: their life, their secrets, and the callers that they make."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.access.tokens import SECRET
from confd.audit import verify
from tests.controller.harness import ADMIN, AGENT, START, ControllerHarness
from tests.conversation import Reply

VIEWER = [{"role": "viewer", "namespaces": ["*"]}]
DOCUMENT = {"url": "https://example.com"}


class TokenCase(SynchronousTestCase):
    """A controller whose shared admin creates tokens."""

    settings: dict[str, str] = {}

    def setUp(self) -> None:
        self.harness = ControllerHarness(**self.settings)
        self.addCleanup(self.harness.stop)

    def ask(self, method: str, path: str, secret: str | None = None, json: object = None, **rest: Any) -> Reply:
        """Send one request: with a token, or as the shared admin."""
        caller = self.harness.caller()
        if secret is None:
            rest.setdefault("auth", ADMIN)
        else:
            rest["headers"] = {"Authorization": f"Bearer {secret}"} | rest.get("headers", {})
        reply = caller.request(method, path, **rest, **({} if json is None else {"json": json}))
        caller.hang_up()
        return reply

    def create(self, name: str = "ci", grants: object = VIEWER, **rest: object) -> Any:
        """Create a token."""
        reply = self.ask("POST", "/api/v1/tokens", json={"name": name, "grants": grants} | rest)
        self.assertEqual(reply.status, 201, reply)
        return reply.json


class LifeTests(TokenCase):
    """Tokens from creation to revocation."""

    def test_created_token_is_shown_once(self) -> None:
        made = self.create("ci-billing", subject="alice", expires_in=3600)
        secret = made.pop("token")
        self.assertRegex(secret, SECRET.pattern.decode())
        self.assertEqual(
            made,
            {
                "id": secret[6:14],
                "name": "ci-billing",
                "subject": "alice",
                "grants": VIEWER,
                "created_at": "2026-11-24T12:00:00.000Z",
                "created_by": "admin",
                "expires_at": "2026-11-24T13:00:00.000Z",
                "revoked_at": None,
                "last_used_at": None,
                "last_used_from": None,
            },
        )
        self.assertEqual(self.ask("GET", f"/api/v1/tokens/{made['id']}").json, made)
        self.assertEqual(self.ask("GET", "/api/v1/tokens").json, {"items": [made]})

    def test_no_response_and_no_audit_entry_holds_a_secret_or_a_digest(self) -> None:
        secret = self.create()["token"]
        token_id = secret[6:14]
        rotated = self.ask("POST", f"/api/v1/tokens/{token_id}/rotate", secret).json["token"]
        self.ask("GET", "/api/v1/config", secret)
        [token] = self.successResultOf(self.harness.store.tokens())
        found = "".join(
            self.ask("GET", path, **rest).body.decode()
            for path, rest in (
                ("/api/v1/tokens", {}),
                (f"/api/v1/tokens/{token_id}", {}),
                ("/api/v1/whoami", {"secret": rotated}),
                ("/api/v1/audit", {}),
                ("/api/v1/config", {"secret": secret}),
                ("/metrics", {}),
            )
        )
        for each in (secret[15:], rotated[15:], token.digest.hex(), repr(token.digest)):
            self.assertNotIn(each, found + repr(token))

    def test_bad_tokens_are_refused(self) -> None:
        viewer = {"role": "viewer", "namespaces": ["a"]}
        for body, status, code in (
            ({"name": "Ci", "grants": VIEWER}, 400, "bad_field"),
            ({"name": "a" * 64, "grants": VIEWER}, 400, "bad_field"),
            ({"name": "a", "grants": VIEWER, "subject": "a\nb"}, 400, "bad_field"),
            ({"name": "a", "grants": VIEWER, "expires_in": 59}, 400, "bad_field"),
            ({"name": "a", "grants": VIEWER, "expires_in": 157_680_001}, 400, "bad_field"),
            ({"name": "a", "grants": []}, 422, "bad_grant"),
            ({"name": "a", "grants": [viewer] * 17}, 422, "bad_grant"),
            ({"name": "a", "grants": [{"role": "viewer", "namespaces": []}]}, 422, "bad_grant"),
            ({"name": "a", "grants": [{"role": "viewer", "namespaces": ["a"] * 65}]}, 422, "bad_grant"),
            ({"name": "a", "grants": [{"role": "root", "namespaces": ["*"]}]}, 422, "bad_grant"),
            ({"name": "a", "grants": [{"role": "admin", "namespaces": ["a"]}]}, 422, "bad_grant"),
            ({"name": "a", "grants": [{"role": "admin", "namespaces": ["*", "a"]}]}, 422, "bad_grant"),
            *(
                ({"name": "a", "grants": [{"role": "viewer", "namespaces": [each]}]}, 422, "bad_grant")
                for each in ("", "A", "a*b", "a**", "-a", "a" * 64, "a\n", "*a")
            ),
        ):
            reply = self.ask("POST", "/api/v1/tokens", json=body)
            self.assertEqual((reply.status, reply.code), (status, code), body)
        self.assertEqual(self.ask("GET", "/api/v1/tokens").json, {"items": []})
        self.create("a")
        self.assertEqual(self.ask("POST", "/api/v1/tokens", json={"name": "a", "grants": VIEWER}).code, "token_exists")

    def test_token_expires_by_the_wall_clock(self) -> None:
        secret = self.create(expires_in=60)["token"]
        for passed, status in ((0, 200), (59, 200), (1, 401)):
            self.harness.clock.advance(passed)
            # The same bytes again: the response cache must not let an expired token in.
            self.assertEqual(self.ask("GET", "/api/v1/config", secret).status, status)
        self.assertEqual(self.ask("GET", "/api/v1/config", secret).code, "token_expired")

    def test_revoked_token_is_refused_at_once(self) -> None:
        made = self.create()
        self.assertEqual(self.ask("GET", "/api/v1/config", made["token"]).status, 200)
        for _ in range(2):
            reply = self.ask("DELETE", f"/api/v1/tokens/{made['id']}")
            self.assertEqual(reply.json, {"message": f"Token ci ({made['id']}) is revoked"})
        self.assertEqual(self.ask("GET", "/api/v1/config", made["token"]).code, "wrong_credentials")
        self.assertEqual(self.ask("DELETE", "/api/v1/tokens/00000000").code, "unknown_token")
        self.assertEqual(self.ask("GET", f"/api/v1/tokens/{made['id']}").json["revoked_at"], "2026-11-24T12:00:00.000Z")

    def test_rotated_token_keeps_its_old_secret_for_the_overlap(self) -> None:
        old = self.create()["token"]
        path = f"/api/v1/tokens/{old[6:14]}/rotate"
        new = self.ask("POST", path, old, json={"overlap": 60}).json["token"]
        for passed, status in ((0, 200), (59.9, 200), (0.1, 401)):
            self.harness.clock.advance(passed)
            found = [self.ask("GET", "/api/v1/config", each).status for each in (old, new)]
            self.assertEqual(found, [status, 200])
        newest = self.ask("POST", path, new).json["token"]
        found = [self.ask("GET", "/api/v1/config", each).status for each in (old, new, newest)]
        self.assertEqual(found, [401, 401, 200])

    def test_token_rotates_itself_and_no_other_token(self) -> None:
        one, other = self.create("one")["token"], self.create("other")["token"]
        reply = self.ask("POST", f"/api/v1/tokens/{other[6:14]}/rotate", one)
        self.assertEqual((reply.status, reply.code), (403, "forbidden"))
        self.assertEqual(self.ask("POST", f"/api/v1/tokens/{one[6:14]}/rotate", one).status, 200)

    def test_last_use_is_noted_once_a_minute(self) -> None:
        made = self.create()
        for used, noted in ((1, 1), (30, 1), (61, 61)):
            self.harness.clock.advance(used - self.harness.clock.seconds())
            self.ask("GET", "/api/v1/config", made["token"])
            self.harness.clock.pump([1, 1])
            found = self.ask("GET", f"/api/v1/tokens/{made['id']}").json
            self.assertEqual(found["last_used_at"][:19], (START + timedelta(seconds=noted + 1)).isoformat()[:19])
            self.assertEqual(found["last_used_from"], "localhost")

    def repeat(self, secret: str) -> list[int]:
        """Return the statuses of two equal polls on one connection; the response cache answers the second one."""
        caller = self.harness.caller()
        found = [caller.get("/api/v1/config", headers={"Authorization": f"Bearer {secret}"}).status for _ in range(2)]
        caller.hang_up()
        return found

    def test_repeated_poll_notices_that_its_token_was_revoked(self) -> None:
        made = self.create()
        self.assertEqual(self.repeat(made["token"]), [200, 200])
        self.ask("DELETE", f"/api/v1/tokens/{made['id']}")
        self.assertEqual(self.repeat(made["token"]), [401, 401])

    def test_repeated_poll_notices_that_its_token_has_expired(self) -> None:
        secret = self.create(expires_in=60)["token"]
        self.assertEqual(self.repeat(secret), [200, 200])
        self.harness.clock.advance(60)
        self.assertEqual(self.repeat(secret), [401, 401])

    def test_tokens_survive_a_restart(self) -> None:
        secret = self.create()["token"]
        self.harness.store.restart(self.harness.clock.seconds)
        again = ControllerHarness(self.harness.store, clock=self.harness.clock)
        self.addCleanup(again.stop)
        caller = again.caller()
        self.assertEqual(caller.get("/api/v1/whoami", headers={"Authorization": f"Bearer {secret}"}).status, 200)


class CallerTests(TokenCase):
    """What callers with tokens see and do."""

    def test_token_may_be_sent_as_bearer_or_as_basic(self) -> None:
        made = self.create()
        secret = made["token"]
        self.assertEqual(self.ask("GET", "/api/v1/whoami", secret).json["kind"], "token")
        self.assertEqual(self.ask("GET", "/api/v1/whoami", auth=(made["id"], secret)).json["name"], "ci")
        # An id may have digits only.
        for name in {"admin", "agent", "", "ci", made["id"] + "0", made["id"].upper()} - {made["id"]}:
            self.assertEqual(self.ask("GET", "/api/v1/whoami", auth=(name, secret)).code, "wrong_credentials")

    def test_password_that_begins_like_a_token_is_a_password(self) -> None:
        harness = ControllerHarness(ADMIN_PASSWORD="confd_password_7f3a9c21")
        self.addCleanup(harness.stop)
        self.assertEqual(harness.caller().get("/api/v1/agents", auth=("admin", "confd_password_7f3a9c21")).status, 200)

    def test_whoami(self) -> None:
        grants = [{"role": "publisher", "namespaces": ["pay-*"]}, {"role": "checker", "namespaces": ["pay-in", "qa"]}]
        found = self.ask("GET", "/api/v1/whoami", self.create("ci", grants, subject="team pay")["token"]).json
        self.assertEqual(
            (found["name"], found["subject"], found["kind"], found["grants"], found["expires_at"]),
            ("ci", "team pay", "token", grants, None),
        )
        permissions = found["permissions"]
        self.assertEqual(list(permissions), ["pay-*", "pay-in", "qa"])
        self.assertEqual(permissions["qa"], ["check.post"])
        self.assertEqual(set(permissions["pay-in"]) - set(permissions["pay-*"]), {"check.post"})
        self.assertIn("config.publish", permissions["pay-*"])
        admin, agent = (self.ask("GET", "/api/v1/whoami", auth=each).json for each in (ADMIN, AGENT))
        self.assertEqual((admin["kind"], agent["kind"]), ("password", "password"))
        self.assertEqual(agent["permissions"], {"*": ["agent.serve"]})
        self.assertNotIn("agent.serve", admin["permissions"]["*"])

    def test_audit_names_the_token_its_subject_and_the_namespace(self) -> None:
        self.ask("POST", "/api/v1/namespaces", json={"name": "billing", "config": DOCUMENT})
        grants = [{"role": "publisher", "namespaces": ["billing"]}]
        made = self.create("ci", grants, subject="alice")
        who = f"token ci ({made['id']})"
        self.ask("POST", "/api/v1/config?namespace=billing", made["token"], json=DOCUMENT)
        self.ask("POST", "/api/v1/config?namespace=default", made["token"], json=DOCUMENT)
        self.ask("POST", "/api/v1/signing-key/rotate", made["token"])
        entries = self.ask("GET", "/api/v1/audit").json["items"]
        found = [[each[name] for name in ("who", "subject", "namespace", "outcome")] for each in entries]
        self.assertEqual(found[-1], ["admin", "admin", "", "done"])
        self.assertEqual(
            sorted(found[:-2]),
            [
                [who, "alice", "", "forbidden"],
                [who, "alice", "billing", "done"],
                [who, "alice", "default", "unknown_namespace"],
            ],
        )
        history = self.ask("GET", "/api/v1/config/history?namespace=billing").json["items"]
        self.assertEqual(history[0]["author"], who)
        self.assertIsNone(verify(self.successResultOf(self.harness.store.audit(100, None))).wrong)

    def test_history_names_the_token_that_rolls_back(self) -> None:
        made = self.create("ci", [{"role": "publisher", "namespaces": ["default"]}])
        self.ask("POST", "/api/v1/config", made["token"], json=DOCUMENT)
        self.assertEqual(self.ask("POST", "/api/v1/config/rollback", made["token"], json={"version": 1}).status, 200)
        items = self.ask("GET", "/api/v1/config/history").json["items"]
        self.assertEqual([each["author"] for each in items[:2]], [f"token ci ({made['id']})"] * 2)

    def test_audit_shows_granted_namespaces(self) -> None:
        for name in ("billing", "pay-in"):
            self.ask("POST", "/api/v1/namespaces", json={"name": name, "config": DOCUMENT})
            self.ask("POST", f"/api/v1/config?namespace={name}", json=DOCUMENT)
        for patterns, names in ((["pay-*"], {"pay-in"}), (["*"], {"billing", "pay-in"}), (["none"], set())):
            secret = self.create(f"v{len(names)}", [{"role": "viewer", "namespaces": patterns}])["token"]
            found = self.ask("GET", "/api/v1/audit?limit=1", secret).json
            seen = {each["namespace"] for each in self.ask("GET", "/api/v1/audit", secret).json["items"]}
            self.assertEqual((seen, len(found["items"])), (names, min(len(names), 1)))
            self.assertEqual("next" in found, len(names) > 1)

    def test_agent_registers_and_polls_with_a_token(self) -> None:
        secret = self.create("fleet", [{"role": "agent", "namespaces": ["default"]}])["token"]
        joined = self.ask("POST", "/api/v1/register", secret, json={"hostname": "web-1"}).json
        self.assertEqual(set(joined) & {"agent_id", "token"}, {"agent_id", "token"})
        headers = {"X-Agent-ID": joined["agent_id"]}
        self.assertEqual(self.ask("GET", "/api/v1/config", secret, headers=headers).status, 200)
        other = self.ask("POST", "/api/v1/register", secret, json={"namespace": "billing"})
        self.assertEqual((other.status, other.code), (404, "unknown_namespace"))

    def test_agent_with_the_id_of_a_token_is_told_apart(self) -> None:
        made = self.create("fleet", [{"role": "agent", "namespaces": ["default"]}])
        joined = self.ask("POST", "/api/v1/register", made["token"], json={"agent_id": made["id"]}).json
        kinds = [
            self.ask("GET", "/api/v1/whoami", auth=(made["id"], password)).json["kind"]
            for password in (made["token"], joined["token"])
        ]
        self.assertEqual(kinds, ["token", "agent"])
        self.ask("DELETE", f"/api/v1/tokens/{made['id']}")
        self.assertEqual(self.ask("GET", "/api/v1/whoami", made["token"]).status, 401)
        self.assertEqual(self.ask("GET", "/api/v1/whoami", auth=(made["id"], joined["token"])).status, 200)

    def test_stream_ends_when_its_token_ends(self) -> None:
        for number, end in enumerate(("revoke", "rotate", "expire")):
            made = self.create(f"t{number}", expires_in=60 if end == "expire" else None)
            caller = self.harness.caller()
            caller.ask("GET", "/api/v1/stream", headers={"Authorization": f"Bearer {made['token']}"})
            self.harness.clock.advance(1)
            self.assertFalse(caller.closed, end)
            if end == "revoke":
                self.ask("DELETE", f"/api/v1/tokens/{made['id']}")
            elif end == "rotate":
                self.ask("POST", f"/api/v1/tokens/{made['id']}/rotate")
            else:
                self.harness.clock.pump([1] * 62)
            self.harness.clock.advance(0)
            self.assertTrue(caller.closed, end)

    def test_wrong_secrets_are_throttled_like_passwords(self) -> None:
        harness = ControllerHarness(LOGIN_FAILURES="3", TRUSTED_PROXIES="127.0.0.1")
        self.addCleanup(harness.stop)
        wrong = {"Authorization": f"Bearer confd_00000000_{'A' * 43}", "X-Forwarded-For": "203.0.113.9"}
        found = [harness.caller().get("/api/v1/config", headers=wrong).status for _ in range(5)]
        self.assertEqual(found, [401, 401, 401, 429, 429])


class MetricTests(TokenCase):
    """The metrics of tokens."""

    def test_metrics(self) -> None:
        secret = self.create("soon", expires_in=3600)["token"]
        self.create("late", expires_in=8 * 86_400)
        self.create("never")
        self.ask("GET", "/api/v1/config", secret)
        self.ask("GET", "/api/v1/config", secret[:-2] + "AA")
        self.harness.clock.advance(2)
        text = self.ask("GET", "/metrics").body.decode()
        found = dict(re.findall(r'^(confd_token\w+\{\w+="\w+"\}) (\d+)', text, re.MULTILINE))
        self.assertEqual(
            found,
            {
                'confd_tokens_expiring{days="7"}': "1",
                'confd_token_requests_total{result="ok"}': "1",
                'confd_token_requests_total{result="wrong"}': "1",
                'confd_token_requests_total{result="expired"}': "0",
            },
        )
