"""Tests of C{token} and C{whoami}."""

import json

from confd.cli.errors import Exit
from tests.cli.commands.test_admin import Case
from tests.cli.harness import answer, lines, refusal

SECRET = "confd_7f3a9c21_" + "x" * 43

TOKEN = {
    "id": "7f3a9c21",
    "name": "ci",
    "subject": "alice\x1b",
    "grants": [{"role": "publisher", "namespaces": ["billing", "pay-*"]}],
    "created_at": "2026-11-24T12:00:00.000Z",
    "created_by": "admin",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": "2026-11-24T12:30:00.000Z",
    "last_used_from": "192.0.2.7",
}

WHOAMI = {
    "name": "ci",
    "subject": "alice",
    "kind": "token",
    "grants": TOKEN["grants"],
    "permissions": {"billing": ["config.read", "config.publish"]},
    "expires_at": "2027-01-01T00:00:00.000Z",
}


class CommandTests(Case):
    """C{token}"""

    def test_create_prints_the_secret_alone_on_standard_output(self):
        self.table["POST /api/v1/tokens"] = answer({**TOKEN, "token": SECRET}, 201)
        words = ("create", "ci", "--grant", "publisher:billing,pay-*", "--grant", "viewer:*", "--expires", "90d")
        ended = self.cli.type("token", *words, "--subject", "alice")
        self.assertEqual((ended.status, ended.out), (0, SECRET + "\n"))
        self.assertIn("not shown again", ended.err)
        self.assertEqual(
            self.body(),
            {
                "name": "ci",
                "grants": [
                    {"role": "publisher", "namespaces": ["billing", "pay-*"]},
                    {"role": "viewer", "namespaces": ["*"]},
                ],
                "subject": "alice",
                "expires_in": 7_776_000,
            },
        )
        self.assertEqual(json.loads(self.cli.type("token", *words, "-o", "json").out)["token"], SECRET)

    def test_wrong_arguments_are_named_before_a_request(self):
        for words, named in (
            (["create", "ci"], "--grant"),
            (["create", "ci", "--grant", "publisher"], "--grant"),
            (["create", "ci", "--grant", ":x"], "--grant"),
            (["create", "ci", "--grant", "viewer:*", "--expires", "90"], "--expires"),
            (["create", "ci", "--grant", "viewer:*", "--expires", "soon"], "--expires"),
            (["rotate", "7f3a9c21", "--overlap", "1"], "--overlap"),
        ):
            ended = self.cli.type("token", *words)
            self.assertEqual(ended.status, Exit.USAGE, words)
            self.assertIn(named, ended.err)
        self.assertEqual(self.cli.controller.asked, [])

    def test_list_leaves_out_revoked_tokens(self):
        gone = {**TOKEN, "id": "00000000", "name": "gone", "revoked_at": "2026-11-24T12:00:00.000Z"}
        self.table["GET /api/v1/tokens"] = answer({"items": [TOKEN, gone]})
        out = self.cli.type("token").out
        self.assertIn("publisher:billing,pay-*", out)
        self.assertIn("alice\\x1b", out)
        self.assertNotIn("gone", out)
        self.assertIn("REVOKED", self.cli.type("token", "list", "--all").out)

    def test_show_rotate_and_revoke(self):
        self.table["GET /api/v1/tokens/7f3a9c21"] = answer(TOKEN)
        self.table["POST /api/v1/tokens/7f3a9c21/rotate"] = answer({**TOKEN, "token": SECRET})
        self.table["DELETE /api/v1/tokens/7f3a9c21"] = answer({"message": "Token ci (7f3a9c21) is revoked"})
        self.assertIn("from 192.0.2.7", self.cli.type("token", "show", "7f3a9c21").out)
        self.assertEqual(self.cli.type("token", "rotate", "7f3a9c21", "--overlap", "1h").out, SECRET + "\n")
        self.assertEqual(self.body(), {"overlap": 3600})
        ended = self.cli.type("token", "revoke", "7f3a9c21", answers="\n")
        self.assertEqual(ended.status, Exit.FAILED)
        self.assertIn("Revoke the token ci (7f3a9c21) of ", ended.err)
        self.assertEqual(self.cli.controller.requests("DELETE", "/api/v1/tokens/7f3a9c21"), [])
        self.assertIn("is revoked", self.cli.type("token", "revoke", "7f3a9c21", "-y").out)

    def test_revoke_names_an_unknown_token_before_the_terminal(self):
        self.table["GET /api/v1/tokens/7f3a9c2"] = refusal(404, "unknown_token", "The token 7f3a9c2 does not exist.")
        ended = self.cli.type("token", "revoke", "7f3a9c2")
        self.assertEqual(ended.status, Exit.NOT_FOUND)
        self.assertIn("The token 7f3a9c2 does not exist.", ended.err)

    def test_whoami_prints_permissions_by_namespace(self):
        self.table["GET /api/v1/whoami"] = answer(WHOAMI)
        out = lines(self.cli.type("whoami").out)
        self.assertIn("ci, by token, for alice", out[0])
        self.assertIn("until 2027-01-01", out[0])
        self.assertEqual(out[2].split(), ["billing", "config.read,", "config.publish"])


class CredentialTests(Case):
    """Tokens as the credentials of confdctl."""

    def test_token_of_the_environment_is_sent_as_a_bearer_token(self):
        self.cli.environ |= {"CONFD_TOKEN": SECRET, "ADMIN_PASSWORD": "x"}
        self.table["GET /api/v1/whoami"] = answer(WHOAMI)
        self.assertEqual(self.cli.type("whoami").status, 0)
        self.assertEqual(self.cli.controller.asked[-1].headers["Authorization"], f"Bearer {SECRET}")

    def test_token_file_is_read_and_a_password_of_a_higher_source_wins(self):
        self.cli.environ["CONFD_TOKEN_FILE"] = path = self.mktemp()
        with open(path, "w") as file:
            file.write(SECRET + "\n")
        secret = self.mktemp()
        with open(secret, "w") as file:
            file.write("hunter2")
        self.table["GET /api/v1/whoami"] = answer(WHOAMI)
        self.cli.type("whoami")
        self.assertEqual(self.cli.controller.asked[-1].headers["Authorization"], f"Bearer {SECRET}")
        self.cli.type("whoami", "--password-file", secret)
        self.assertTrue(self.cli.controller.asked[-1].headers["Authorization"].startswith("Basic "))

    def test_broken_token_is_refused_without_being_printed(self):
        self.cli.environ["CONFD_TOKEN"] = broken = SECRET[:-1]
        ended = self.cli.type("whoami")
        self.assertEqual(ended.status, Exit.USAGE)
        self.assertIn("CONFD_TOKEN", ended.err)
        self.assertNotIn(broken[15:], ended.err)
        self.assertEqual(self.cli.controller.asked, [])

    def test_token_and_token_file_together_are_refused(self):
        self.cli.environ |= {"CONFD_TOKEN": SECRET, "CONFD_TOKEN_FILE": "/nowhere"}
        ended = self.cli.type("whoami")
        self.assertEqual(ended.status, Exit.USAGE)
        self.assertIn("CONFD_TOKEN_FILE", ended.err)

    def test_refused_token_is_named_by_its_source(self):
        self.cli.environ["CONFD_TOKEN"] = SECRET
        for code, said in (("wrong_credentials", "wrong or revoked"), ("token_expired", "expired")):
            self.table["GET /api/v1/whoami"] = refusal(401, code, "No.")
            ended = self.cli.type("whoami", answers="hunter2\n")
            self.assertEqual(ended.status, Exit.DENIED)
            self.assertIn("CONFD_TOKEN", ended.err)
            self.assertIn(said, ended.err)

    def test_sentence_that_is_its_own_detail_is_printed_once(self):
        sentence = "The role 'foo' does not exist; the roles are viewer."
        body = {"error": sentence, "code": "bad_grant", "request_id": "r",
                "details": [{"pointer": "/grants/0/role", "message": sentence}]}  # fmt: skip
        self.table["POST /api/v1/tokens"] = answer(body, 422)
        ended = self.cli.type("token", "create", "x", "--grant", "foo:a")
        self.assertEqual((ended.status, ended.err), (Exit.INVALID, f"confdctl: {sentence}\n"))

    def test_missing_permission_is_one_sentence(self):
        sentence = "The token ci (7f3a9c21) lacks the permission config.publish in the namespace 'billing'."
        body = {"error": sentence, "code": "forbidden", "request_id": "r",
                "details": [{"missing": "config.publish", "namespace": "billing"}]}  # fmt: skip
        self.table["GET /api/v1/whoami"] = answer(body, 403)
        ended = self.cli.type("whoami")
        self.assertEqual((ended.status, ended.err.count("\n")), (Exit.DENIED, 1))
        self.assertIn(sentence, ended.err)
