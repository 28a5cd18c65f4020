"""Tests of C{set} and C{rollback}: preview, question, publish, wait, and the editor."""

import json
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from confd.cli.transport import Unreached
from tests.cli.harness import (
    TAG,
    CliHarness,
    answer,
    convergence,
    current_config,
    lines,
    preview,
    published,
    publisher,
    refusal,
)

POST, BACK = "POST /api/v1/config", "POST /api/v1/config/rollback"
BASE = {"url": "x", "limits": {"rate": 1}}


class Case(SynchronousTestCase):
    """A controller at version 2, which accepts one publish."""

    def setUp(self):
        self.cli = CliHarness()
        self.table = self.cli.controller.table
        self.table["GET /api/v1/config"] = current_config(BASE)
        self.table[POST] = publisher(published())

    def posts(self, path="/api/v1/config"):
        """Return the publishes, without dry runs."""
        return [each for each in self.cli.controller.requests("POST", path) if "dry_run" not in each.query]


class SetTests(Case):
    """C{set}"""

    def test_set_shows_the_diff_asks_and_publishes_conditionally(self):
        ended = self.cli.type("set", "url=y", "limits.rate=2", "-m", "why", "--poll-interval", "7", answers="y\n")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertEqual(ended.out, "Published version 3 of default (1a2b3c4d.1.3).\n")
        self.assertIn("-x\n+y\n", ended.err)
        self.assertIn("for 4 agents (3 of them live)?", ended.err)
        (post,) = self.posts()
        self.assertEqual(post.body, {"url": "y", "limits": {"rate": 2}})
        expected = {"namespace": "default", "if_changed": "true", "comment": "why", "poll_interval": "7"}
        self.assertEqual(post.query, expected)
        self.assertEqual(post.headers["If-Match"], f'"{TAG}"')
        self.assertTrue(post.headers["Idempotency-Key"])

    def test_reason_for_break_glass_goes_with_the_preview_and_the_publish(self):
        self.cli.type("set", "url=y", "--yes", "--break-glass", "down")
        sent = self.cli.controller.requests("POST", "/api/v1/config")
        self.assertEqual([each.query["break_glass"] for each in sent], ["down"] * 2)

    def test_proposal_is_sent_at_once_and_publishes_nothing(self):
        change = {"id": 41, "state": "open", "needed": 2, "approvals": [{}]}
        for path, words, body in (
            (POST, ("set", "url=y", "-m", "why", "--rollout", "canary"), BASE | {"url": "y"}),
            (BACK, ("rollback", "1"), {"version": 1}),
        ):
            self.table[path] = answer({"change": change}, 202)
            ended = self.cli.type(*words, "--propose")
            self.assertEqual((ended.status, ended.err), (0, ""))
            self.assertEqual(ended.out, "Change 41 is open: 1 approval to go; confdctl change approve 41\n")
            [sent] = self.cli.controller.requests(*path.split())
            self.assertEqual((sent.body, sent.query["propose"], sent.query["if_changed"]), (body, "true", "true"))
            self.assertEqual(sent.headers["If-Match"], f'"{TAG}"')
            self.assertNotIn("Idempotency-Key", sent.headers)
        self.table[POST] = refusal(409, "unchanged", "No.")
        self.assertIn("Nothing to publish", self.cli.type("set", "url=y", "--propose").out)

    def test_proposal_takes_no_option_of_a_publish(self):
        for words in (["--dry-run"], ["--wait", "applied"], ["--break-glass", "x"], ["--rollout", "abort"]):
            ended = self.cli.type("set", "url=y", "--propose", *words)
            self.assertEqual(ended.status, Exit.USAGE, words)
            self.assertIn(words[0], ended.err)
        self.assertEqual(self.cli.controller.asked, [])

    def test_refusal_names_the_command_that_shows_what_holds(self):
        for code, command in (
            ("plan_required", "confdctl policy"),
            ("frozen", "confdctl freeze"),
            ("approval_required", "confdctl set FILE --propose"),
        ):
            self.table["POST /api/v1/config"] = refusal(403, code, "No.")
            self.assertIn(f"run: {command}", self.cli.type("set", "url=y", "--yes").err)

    def test_any_answer_but_yes_changes_nothing(self):
        for said in ("n\n", "\n"):
            ended = self.cli.type("set", "url=y", answers=said)
            self.assertEqual(ended.status, Exit.FAILED)
            self.assertIn("Nothing was changed", ended.err)
        self.assertEqual(self.cli.type("set", "url=y", answers="").status, Exit.INTERRUPTED)
        self.assertEqual(self.posts(), [])

    def test_script_needs_yes(self):
        ended = self.cli.type("set", "url=y")
        self.assertEqual(ended.status, Exit.USAGE)
        self.assertIn("--yes", ended.err)
        sent = [each for each in self.cli.controller.asked if each.method != "GET"]
        self.assertTrue(all(each.query.get("dry_run") for each in sent), "something was changed")

    def test_wrong_arguments_are_refused_before_the_question_of_a_terminal(self):
        for words, said in ((["set"], "Nothing to publish"), (["set", "url"], "write KEY=VALUE")):
            self.assertIn(said, self.cli.type(*words).err)
        self.assertEqual(self.cli.controller.asked, [])

    def test_set_publishes_standard_input_in_another_namespace(self):
        ended = self.cli.type("set", "-", "b=2", "--yes", "-n", "edge", "-o", "json", stdin=b'{"a": 1}')
        self.assertEqual(ended.status, 0, ended.err)
        self.assertEqual(json.loads(ended.out)["tag"], "1a2b3c4d.1.3")
        (post,) = self.posts()
        self.assertEqual((post.body, post.query["namespace"]), ({"a": 1, "b": 2}, "edge"))

    def test_dry_run_prints_the_diff_and_publishes_nothing(self):
        ended = self.cli.type("set", "url=y", "--dry-run")
        self.assertEqual((ended.status, ended.out), (0, "--- a\n+++ b\n-x\n+y\n"))
        self.assertIn("version 3 of default, for 4 agents", ended.err)
        ended = self.cli.type("set", "url=y", "--dry-run", "-o", "json")
        self.assertEqual(json.loads(ended.out), preview())
        self.assertEqual(self.posts(), [])

    def test_unchanged_document_is_published_only_with_force(self):
        self.table[POST] = [refusal(409, "unchanged", "Nothing to publish.")] * 2 + [
            answer(preview(text="")),
            published(),
        ]
        for dry_run in ("--yes", "--dry-run"):
            ended = self.cli.type("set", "url=x", dry_run)
            self.assertEqual(ended.status, 0)
            self.assertIn("Nothing to publish", ended.out)
        self.assertEqual(self.posts(), [])
        self.assertEqual(
            {each.query["if_changed"] for each in self.cli.controller.asked if each.method == "POST"}, {"true"}
        )
        self.assertEqual(self.cli.type("set", "url=x", "--force", "--yes").status, 0)
        self.assertNotIn("if_changed", self.posts()[0].query)

    def test_lost_race_names_the_command_that_shows_the_other_change(self):
        self.table[POST] = publisher(refusal(412, "version_mismatch", "Somebody was faster."))
        ended = self.cli.type("set", "url=y", "--yes")
        self.assertEqual(ended.status, Exit.CONFLICT)
        self.assertIn("Somebody was faster.", ended.err)
        self.assertIn("confdctl diff 2", ended.err)
        self.table[POST] = publisher(published(), published())
        self.cli.type("set", "url=y", "--yes", "--if-match", "*")
        self.cli.type("set", "url=y", "--yes", "--if-match", "1a2b3c4d.1.1")
        self.assertEqual([each.headers["If-Match"] for each in self.posts()[1:]], ["*", '"1a2b3c4d.1.1"'])

    def test_publish_with_a_lost_answer_is_repeated_with_the_same_key(self):
        self.table[POST] = publisher(Unreached("It broke."), published())
        self.assertEqual(self.cli.type("set", "url=y", "--yes").status, 0)
        first, second = self.posts()
        self.assertEqual(first.headers, second.headers)
        self.table[POST] = publisher(*[Unreached("It broke.")] * 3)
        ended = self.cli.type("set", "url=y", "--yes")
        self.assertEqual(ended.status, Exit.UNREACHABLE)
        self.assertIn("confdctl history", ended.err)
        self.assertEqual(len(self.posts()), 5)

    def test_invalid_document_is_refused_before_the_question(self):
        details = [{"pointer": "/url", "message": "is no URL"}]
        self.table[POST] = refusal(422, "schema_violation", "It does not fit.", details=details)
        ended = self.cli.type("set", "url=y", answers="y\n")
        self.assertEqual(ended.status, Exit.INVALID)
        self.assertEqual(lines(ended.err), ["confdctl: It does not fit.", "  /url: is no URL"])

    def test_wrong_usage_is_refused(self):
        for words in ([], ["a", "b"], ["a=1", "--quorum", "5"], ["a=1", "--timeout", "5"], ["a=1", "--quorum", "0"],
                      ["a=1", "--if-match", "x\r\ny"], ["a=\udcff"],
                      ["a=1", "--poll-interval", "0"], ["a=1", "--wait", "never"]):  # fmt: skip
            with self.subTest(words=words):
                self.assertEqual(self.cli.type("set", "--yes", *words).status, Exit.USAGE)
        self.assertEqual(self.posts(), [])

    def test_publish_warns_of_brokers_that_are_not_notified(self):
        self.table[POST] = publisher(published(published=False))
        ended = self.cli.type("set", "url=y", "--yes")
        self.assertEqual(ended.status, 0)
        self.assertIn("Some brokers", ended.err)


class WaitTests(Case):
    """C{--wait applied}"""

    def setUp(self):
        super().setUp()
        self.seen = "GET /api/v1/config/versions/3/convergence"

    def test_wait_polls_until_the_quorum_is_reached(self):
        self.table[self.seen] = [answer(convergence(applied=n, pending=20 - n)) for n in (0, 18, 19)]
        ended = self.cli.type("set", "url=y", "--yes", "--wait", "applied", "--quorum", "95")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertIn("19 of 20 agents applied version 3", ended.out)
        self.assertEqual(len(self.cli.slept), 2)

    def test_missed_quorum_has_its_own_status_after_a_publish(self):
        self.table[self.seen] = answer(convergence(applied=1, silent=1))
        ended = self.cli.type("set", "url=y", "--yes", "--wait", "applied", "--timeout", "5", "-o", "yaml")
        self.assertEqual(ended.status, Exit.NO_QUORUM)
        self.assertIn("Quorum not reached after 5 s.", ended.err)
        self.assertIn("convergence:\n  applied: 1\n", ended.out)
        self.assertGreaterEqual(sum(self.cli.slept), 5)

    def test_wait_ends_as_soon_as_too_many_agents_failed(self):
        self.table[self.seen] = [
            answer(convergence(applied=applied, failed=failed, pending=4 - applied - failed))
            for applied, failed in ((0, 0), (1, 1), (1, 2))
        ]
        ended = self.cli.type("set", "url=y", "--yes", "--wait", "applied", "--quorum", "60")
        self.assertEqual(ended.status, Exit.NO_QUORUM)
        self.assertIn("Quorum not reached: 2 agents failed.", ended.err)
        self.assertEqual(len(self.cli.slept), 2)

    def test_wait_survives_a_restart_of_the_controller(self):
        self.table[self.seen] = [Unreached("Gone."), refusal(503, "starting"), answer(convergence(applied=1))]
        self.assertEqual(self.cli.type("set", "url=y", "--yes", "--wait", "applied").status, 0)
        self.table[POST], self.table[self.seen] = publisher(published()), Unreached("Gone.")
        ended = self.cli.type("set", "url=y", "--yes", "--wait", "applied")
        self.assertEqual(ended.status, Exit.UNREACHABLE)
        self.assertIn("Published version 3", ended.out)

    def test_wait_ends_at_once_without_agents(self):
        self.table[self.seen] = answer(convergence())
        self.assertEqual(self.cli.type("set", "url=y", "--yes", "--wait", "applied").status, 0)


class RollbackTests(Case):
    """C{rollback}"""

    def test_rollback_publishes_the_version_conditionally(self):
        self.table[BACK] = publisher(published(rollback_of=1))
        ended = self.cli.type("rollback", "1", "-m", "why", answers="y\n")
        self.assertEqual(ended.out, "Published version 3 of default (1a2b3c4d.1.3), with the document of version 1.\n")
        (post,) = self.posts("/api/v1/config/rollback")
        self.assertEqual(
            (post.body, post.query), ({"version": 1, "comment": "why"}, {"namespace": "default", "if_changed": "true"})
        )
        self.assertEqual(post.headers["If-Match"], f'"{TAG}"')

    def test_rollback_without_a_version_takes_the_one_before_and_no_candidate(self):
        self.table[BACK] = publisher(published(rollback_of=1))
        pages = {
            "2": {"items": [{"version": 7, "state": "dropped"}], "next": 7},
            "7": {"items": [{"version": 6, "state": "candidate"}, {"version": 5}, {"version": 4}]},
        }
        self.table["GET /api/v1/config/history"] = lambda request: answer(pages[request.query["before"]])
        ended = self.cli.type("rollback", "--yes")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertIn("Rolling back to version 5.", ended.err)
        self.assertEqual(self.posts("/api/v1/config/rollback")[0].body, {"version": 5})
        self.table["GET /api/v1/config/history"] = answer({"items": []})
        ended = self.cli.type("rollback", "--yes")
        self.assertEqual(ended.status, Exit.NOT_FOUND)
        self.assertIn("Version 2 of default is the first version", ended.err)

    def test_rollback_to_an_unknown_or_pruned_version_is_refused(self):
        for status, code in ((404, "unknown_version"), (410, "version_pruned")):
            self.table[BACK] = refusal(status, code)
            self.assertEqual(self.cli.type("rollback", "9", "--yes").status, Exit.NOT_FOUND)
        self.assertEqual(self.cli.type("rollback", "0", "--yes").status, Exit.USAGE)


class EditTests(Case):
    """C{set --edit}, with a script as the editor."""

    def editor(self, *texts):
        """Set an editor that writes each of C{texts} in turn."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        for number, text in enumerate(texts):
            (folder / f"{number}.json").write_text(text)
        script = folder / "editor"
        # The lowest number that is left is what is written next.
        script.write_text(f'#!/bin/sh\nset -e\ncd {folder}\nnext=$(ls *.json | head -n 1)\nmv "$next" "$1"\n')
        script.chmod(0o755)
        self.cli.environ["EDITOR"] = str(script)

    def kept(self, ended):
        """Return the file that the output names."""
        return Path(ended.err.partition("kept in ")[2].partition(";")[0])

    def test_edited_text_is_published_and_its_file_removed(self):
        self.editor('{"url": "edited"}')
        ended = self.cli.type("set", "--edit", answers="y\n")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertEqual(self.posts()[0].body, {"url": "edited"})
        self.assertNotIn("kept", ended.err)

    def test_published_text_is_removed_whatever_the_agents_report(self):
        self.table["GET /api/v1/config/versions/3/convergence"] = answer(convergence(failed=1))
        self.editor('{"url": "edited"}')
        ended = self.cli.type("set", "--edit", "--wait", "applied", answers="y\n")
        self.assertEqual(ended.status, Exit.NO_QUORUM)
        self.assertNotIn("kept", ended.err)

    def test_unedited_text_publishes_nothing(self):
        self.cli.environ["EDITOR"] = "true"
        ended = self.cli.type("set", "--edit", answers="")
        self.assertEqual((ended.status, self.posts()), (0, []))
        self.assertIn("The text was not edited", ended.err)

    def test_editor_opens_again_after_each_invalid_text(self):
        details = [{"pointer": "/url", "message": "is missing"}]
        replies = [refusal(422, "schema_violation", "Unfit.", details=details), answer(preview()), published()]
        self.table[POST] = replies
        self.editor("{", '{"a": 1}', '{"url": "edited"}')
        ended = self.cli.type("set", "--edit", answers="y\n\ny\n")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertIn("line 1, column 2", ended.err)
        self.assertIn("/url: is missing", ended.err)
        self.assertEqual(self.posts()[-1].body, {"url": "edited"})

    def test_text_is_kept_in_a_named_file_unless_it_was_published(self):
        text = '{"url": "precious"}'
        for typed, reply, wanted in (
            ("n\n", refusal(422, "schema_violation"), Exit.INVALID),
            ("n\n", publisher(), Exit.FAILED),
            ("y\n", publisher(refusal(412, "version_mismatch")), Exit.CONFLICT),
            ("", publisher(), Exit.INTERRUPTED),
            ("y\n", Unreached("Gone."), Exit.UNREACHABLE),
        ):
            with self.subTest(wanted=wanted):
                self.table[POST] = reply
                self.editor(text)
                ended = self.cli.type("set", "--edit", answers=typed)
                self.assertEqual(ended.status, wanted, ended.err)
                kept = self.kept(ended)
                self.assertEqual(kept.read_text(), text)
                self.assertEqual(stat.S_IMODE(kept.parent.stat().st_mode), 0o700)
                kept.unlink()
                kept.parent.rmdir()

    def test_missing_or_failing_editor_is_named(self):
        for editor, status in (("/nonexistent/editor", Exit.USAGE), ("'", Exit.USAGE), ("false", Exit.FAILED)):
            self.cli.environ["EDITOR"] = editor
            ended = self.cli.type("set", "--edit", answers="")
            self.assertEqual(ended.status, status)
            self.assertNotIn("kept", ended.err)
