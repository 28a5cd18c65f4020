"""Tests of C{change}."""

from typing import Any

from confd.cli.errors import Exit
from tests.cli.commands.test_admin import Case
from tests.cli.harness import answer, refusal

PATH = "/api/v1/changes"
CHANGE: dict[str, Any] = {
    "id": 41,
    "namespace": "default",
    "kind": "publish",
    "state": "open",
    "base": "1a2b3c4d.1.17",
    "base_checksum": "sha256:b",
    "checksum": "sha256:c",
    "plan": "careful",
    "poll_interval_seconds": None,
    "rollback_of": None,
    "rollout": None,
    "at": None,
    "scheduled_by": None,
    "comment": "the new\x1b mirror",
    "author": "token pat (7f3a9c21)",
    "subject": "pat",
    "created_at": "2026-11-24T12:00:00.000Z",
    "ended_at": None,
    "needed": 2,
    "approvals": [{"subject": "ann", "who": "token ann (00000000)", "at": "2026-11-24T12:01:00.000Z", "comment": ""}],
    "result": None,
    "version": None,
}
SHOWN = CHANGE | {"config": {"n": 9}, "diff": {"patch": [], "text": "--- version 17\n+++ change 41\n-old\n+new\n"}}


class ChangeTests(Case):
    """C{change}"""

    def test_propose_sends_the_document_and_says_what_is_missing(self):
        self.table[f"POST {PATH}"] = answer(CHANGE, 201)
        words = ("--plan", "careful", "--at", "2026-12-01T09:00:00+01:00", "-m", "why")
        ended = self.cli.type("change", "propose", "-", *words, stdin=b'{"n": 9}')
        self.assertEqual(ended.out, "Change 41 is open: 1 approval to go; confdctl change approve 41\n")
        wanted = {"config": {"n": 9}, "plan": "careful", "at": "2026-12-01T09:00:00+01:00", "comment": "why"}
        self.assertEqual(self.body(), wanted)

    def test_propose_changes_keys_of_the_current_document(self):
        self.table["GET /api/v1/config"] = answer({"data": {"n": 1, "url": "http://x"}})
        self.table[f"POST {PATH}"] = answer(CHANGE, 201)
        self.cli.type("change", "propose", "n=9")
        self.assertEqual(self.body(), {"config": {"n": 9, "url": "http://x"}, "comment": ""})

    def test_propose_sends_a_version(self):
        self.table[f"POST {PATH}"] = answer(CHANGE | {"state": "approved"}, 201)
        ended = self.cli.type("change", "propose", "--rollback", "7", "--replace", "3")
        self.assertEqual(ended.out, "Change 41 is approved; confdctl change apply 41\n")
        self.assertEqual(self.body(), {"rollback_of": 7, "rollout": 3, "comment": ""})

    def test_wrong_options_are_named_before_a_request(self):
        for words in (
            ["propose"],
            ["propose", "n=9", "--rollback", "7"],
            ["reject", "41"],
            ["schedule", "41"],
            ["rebase", "41", "a", "b"],
            ["show", "0"],
        ):
            self.assertEqual(self.cli.type("change", *words).status, Exit.USAGE, words)
        self.assertEqual(self.cli.controller.asked, [])

    def test_list_shows_what_waits(self):
        self.table[f"GET {PATH}"] = answer({"items": [CHANGE]})
        out = self.cli.type("change").out
        for each in ("41", "open", "pat", "1/2", "the new\\x1b mirror"):
            self.assertIn(each, out)
        self.assertEqual(self.cli.controller.asked[-1].query["state"], "pending")
        self.cli.type("change", "list", "--all")
        self.assertNotIn("state", self.cli.controller.asked[-1].query)

    def test_approve_prints_the_diff_and_sends_the_checksum_that_it_printed(self):
        self.table[f"GET {PATH}/41"] = answer(SHOWN)
        self.table[f"POST {PATH}/41/approve"] = answer(CHANGE | {"state": "scheduled", "at": "2026-12-01T08:00:00Z"})
        ended = self.cli.type("change", "approve", "41", "--yes", "-m", "fine")
        for each in (
            "+++ change 41",
            "+new",
            "1 of 2: ann (token ann (00000000))",
            "scheduled for 2026-12-01 08:00:00Z",
        ):
            self.assertIn(each, ended.out)
        self.assertEqual(self.body(), {"checksum": "sha256:c", "comment": "fine"})

    def test_approve_without_consent_approves_nothing(self):
        self.table[f"GET {PATH}/41"] = answer(SHOWN)
        self.assertNotEqual(self.cli.type("change", "approve", "41").status, 0)
        self.assertEqual([each.method for each in self.cli.controller.asked], ["GET"])

    def test_verbs(self):
        for words, verb, body in (
            (["reject", "41", "-m", "no"], "reject", {"comment": "no"}),
            (["withdraw", "41"], "withdraw", {"comment": ""}),
            (["schedule", "41", "2026-12-01T09:00:00Z"], "schedule", {"at": "2026-12-01T09:00:00Z"}),
            (["schedule", "41", "never"], "schedule", {"at": None}),
            (["rebase", "41"], "rebase", {"comment": ""}),
        ):
            self.table[f"POST {PATH}/41/{verb}"] = answer(CHANGE | {"state": "withdrawn"})
            self.assertEqual(self.cli.type("change", *words).out, "Change 41 is withdrawn.\n", words)
            self.assertEqual(self.body(), body)

    def test_apply_names_what_it_made(self):
        self.table[f"GET {PATH}/41"] = answer(SHOWN)
        made = {"message": "m", "version": 18, "epoch": 1, "published": True, "change": 41}
        for more, sentence in (
            (made, "Change 41 is applied: it is version 18."),
            (made | {"rollout": {"id": 3}}, "Rollout 3 of change 41 started."),
            ({"id": 3, "change": 41}, "Change 41 is applied: it is the candidate of rollout 3."),
        ):
            self.table[f"POST {PATH}/41/apply"] = answer(more)
            self.assertIn(sentence, self.cli.type("change", "apply", "41", "--yes").out)
        self.assertEqual(self.body(), {"checksum": "sha256:c"})

    def test_refusal_is_one_sentence(self):
        self.table[f"GET {PATH}/41"] = answer(SHOWN)
        self.table[f"POST {PATH}/41/apply"] = refusal(409, "change_stale", "Change 41 was written against x.")
        ended = self.cli.type("change", "apply", "41", "--yes")
        self.assertEqual((ended.status, ended.err), (Exit.CONFLICT, "confdctl: Change 41 was written against x.\n"))
