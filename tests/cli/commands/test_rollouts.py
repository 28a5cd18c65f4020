"""Tests of C{set --rollout}, C{rollout} and C{plans}."""

import json
from pathlib import Path

from click.shell_completion import ShellComplete
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.app import cli
from confd.cli.errors import Exit
from confd.cli.transport import Unreached
from tests.cli.harness import (
    CliHarness,
    answer,
    current_config,
    lines,
    member,
    preview,
    published,
    refusal,
    rollout,
)

PATH = "/api/v1/rollouts/12"
GET, MEMBERS = f"GET {PATH}", f"GET {PATH}/agents"
LIST = "GET /api/v1/rollouts"
WAVES = [{"members": 1, "sample": ["a1"]}, {"members": 9, "sample": ["a2", "a3", "a4", "a5", "a6"]}]


def item(**more):
    """Return a page with one rollout."""
    return answer({"items": [rollout(**more)], "next": 12})


class Case(SynchronousTestCase):
    """A controller that starts a rollout, and shows it as open."""

    def setUp(self):
        self.cli = CliHarness()
        self.table = self.cli.controller.table
        self.table["GET /api/v1/config"] = current_config({"url": "x"})
        self.table["POST /api/v1/config"] = self.publish
        self.table[LIST] = item()
        self.table[GET] = answer(rollout(), etag='"r12.1"')
        self.table[MEMBERS] = answer({"items": [member("a1"), member("a2", "failed", "no such key")]})

    def publish(self, request):
        """Answer a dry run and a start."""
        if request.query.get("dry_run"):
            return answer(preview(waves=WAVES, unfit=1, cannot_report=2))
        body = rollout(warnings=["The bake is short."])
        return published(rollout=body, published=False, message="Rollout 12 started")

    def start(self, *words, **how):
        """Type a publish with a rollout."""
        return self.cli.type("set", "url=y", "--yes", "--rollout", "canary", *words, **how)

    def posts(self, path):
        """Return the requests that changed a rollout."""
        return [(each.body, each.headers.get("If-Match")) for each in self.cli.controller.requests("POST", path)]


class StartTests(Case):
    """C{set --rollout}"""

    def test_start_names_the_plan_and_the_command_that_follows_it(self):
        ended = self.start()
        self.assertEqual(ended.status, 0, ended.err)
        said = "Rollout 12 started: version 3 of default (1a2b3c4d.1.3) goes out in 2 waves of the plan canary.\n"
        self.assertEqual(ended.out, said)
        self.assertEqual(lines(ended.err)[-2:], ["The bake is short.", "To follow it, run: confdctl rollout watch"])
        posts = self.cli.controller.requests("POST", "/api/v1/config")
        self.assertEqual([each.query["rollout"] for each in posts], ["canary"] * 2)

    def test_start_by_a_policy_names_the_plan_of_the_policy(self):
        ended = self.cli.type("set", "url=y", "--yes")
        self.assertIn("goes out in 2 waves of the plan canary", ended.out)

    def test_question_says_who_is_first(self):
        ended = self.cli.type("set", "url=y", "--rollout", "canary", answers="n\n")
        self.assertIn("for 4 agents (3 of them live), in 2 waves, first to a1?", ended.err)
        WAVES_OF_MANY = [{"members": 9, "sample": ["a1"]}]
        self.table["POST /api/v1/config"] = answer(preview(waves=WAVES_OF_MANY))
        ended = self.cli.type("set", "url=y", "--rollout", "canary", answers="n\n")
        self.assertIn("in 1 wave, first to 9 agents?", ended.err)

    def test_dry_run_shows_the_waves(self):
        ended = self.cli.type("set", "url=y", "--rollout", "canary", "--dry-run")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertEqual(lines(ended.out)[-2:], ["1     1        a1", "2     9        a2, a3, a4, a5, a6 and 3 more"])
        self.assertIn("Only the last wave is for 2 agents without a report.", ended.err)
        self.assertEqual(len(self.cli.controller.requests("POST", "/api/v1/config")), 1)
        ended = self.cli.type("set", "url=y", "--rollout", "canary", "--dry-run", "-o", "json")
        self.assertEqual(json.loads(ended.out)["waves"], WAVES)

    def test_rollout_that_completes_is_a_success(self):
        seen = [rollout(), rollout(), rollout("finishing", 2), rollout("completed", 2)]
        self.table[GET] = [answer(each) for each in seen]
        ended = self.start("--wait", "applied")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertEqual(
            lines(ended.err)[-3:],
            ["Rollout 12: wave 1 of 2, 1 member so far.", "Rollout 12: last wave, 2 members.",
             "Rollout 12 is completed."],
        )  # fmt: skip
        self.assertEqual(lines(ended.out)[-1], "Rollout 12 completed: 2 of 2 members applied version 3.")
        self.assertEqual(lines(ended.out)[2], "1     1     1        0       0       0        1")

    def test_rollout_that_is_taken_back_names_the_exposed_agents(self):
        for state, reason, said in (
            (
                "aborted",
                "failures",
                "aborted in wave 1: too many members failed or fell silent."
                " All agents get version 4, with the document of version 2;",
            ),
            ("superseded", "odd", "superseded in wave 1: odd. All agents get version 4;"),
        ):
            self.table[GET] = [answer(rollout()), answer(rollout(state, reason=reason))]
            ended = self.start("--wait", "applied")
            self.assertEqual(ended.status, Exit.ROLLED_BACK)
            self.assertEqual(
                lines(ended.out)[-2:],
                ["a2       a2.example.net  1     failed   no such key", "a1       a1.example.net  1     applied  -"],
            )
            self.assertIn(f"Rollout 12 was {said} 1 of 1 exposed agent applied it.", ended.err)
        self.table[GET] = answer(rollout("aborted"))
        value = json.loads(self.start("--wait", "applied", "-o", "json").out)
        self.assertEqual((value["version"], value["rollout"]["state"]), (3, "aborted"))
        self.assertEqual([each["id"] for each in value["exposed"]], ["a2", "a1"])

    def test_long_list_of_exposed_agents_is_cut(self):
        pages = [{"items": [member(f"a{number}") for number in range(15)], "next": "a14"},
                 {"items": [member(f"b{number}") for number in range(7)]}]  # fmt: skip
        self.table[MEMBERS] = [answer(each) for each in pages]
        self.table[GET] = answer(rollout("aborted"))
        ended = self.start("--wait", "applied")
        self.assertIn("2 more agents were exposed; confdctl rollout agents 12 lists all of them.", ended.err)
        self.assertEqual(len(lines(ended.out)), 1 + 3 + 1 + 20)
        self.assertEqual(self.cli.controller.requests("GET", f"{PATH}/agents")[1].query["after"], "a14")

    def test_end_is_awaited_until_the_members_have_left_the_version(self):
        behind = {"version": 4, "members": 2, "applied": 1, "failed": 0, "pending": 1}
        waiting = [answer(rollout("aborted", recovery=each)) for each in (None, behind)]
        self.table[GET] = [*waiting, answer(rollout("aborted"))]
        ended = self.start("--wait", "applied")
        self.assertIn("Rollout 12 is aborted; waiting until its members have version 4.", ended.err)
        self.assertEqual(self.table[GET], [])
        # A member that the document cut off never answers.
        self.table[GET] = waiting[1]
        self.cli.slept.clear()
        ended = self.start("--wait", "applied")
        self.assertEqual((ended.status, sum(self.cli.slept)), (Exit.ROLLED_BACK, 60))
        self.assertIn("1 of 2 exposed agents applied it.", ended.err)

    def test_rollout_that_is_open_at_the_time_limit_is_no_failure(self):
        paused = rollout("paused", reason="held", next="Paused (held); resume, promote or abort the rollout.")
        self.table[GET] = answer(paused)
        ended = self.start("--wait", "applied", "--timeout", "3600")
        self.assertEqual((ended.status, sum(self.cli.slept)), (Exit.NO_QUORUM, 3600))
        self.assertIn("Rollout 12: Paused (held)", ended.err)
        self.assertIn("confdctl: Rollout 12 is still open. Paused (held)", ended.err)

    def test_unreachable_controller_does_not_end_the_wait(self):
        self.table[GET] = [answer(rollout()), Unreached("It broke."), answer(rollout("completed", 2))]
        self.assertEqual(self.start("--wait", "applied").status, 0)
        self.table[GET] = Unreached("It broke.")
        self.assertEqual(self.start("--wait", "applied", "--timeout", "5").status, Exit.UNREACHABLE)
        self.table[GET] = refusal(404, "unknown_rollout")
        self.assertEqual(self.start("--wait", "applied").status, Exit.NOT_FOUND)

    def test_interrupt_leaves_the_rollout_open_and_says_so(self):
        def interrupt(request):
            raise KeyboardInterrupt

        self.table[GET] = [answer(rollout()), interrupt]
        ended = self.start("--wait", "applied")
        self.assertEqual(ended.status, Exit.INTERRUPTED)
        self.assertIn("Rollout 12 goes on.", ended.err)
        self.assertIn("confdctl rollout abort", ended.err)
        self.assertEqual(self.posts(f"{PATH}/abort"), [])

    def test_refused_start_names_the_command_that_helps(self):
        for status, code, said in (
            (409, "rollout_active", "To see it, run: confdctl rollout\n"),
            (404, "unknown_plan", "To list the plans, run: confdctl plans\n"),
            (409, "no_eligible_agent", "run: confdctl agents\n"),
        ):
            self.table["POST /api/v1/config"] = refusal(status, code)
            ended = self.start()
            self.assertEqual(ended.status, Exit.CONFLICT if status == 409 else Exit.NOT_FOUND)
            self.assertIn(said, ended.err)

    def test_abort_supersedes_the_open_rollout(self):
        self.table["POST /api/v1/config"] = lambda request: (
            answer(preview()) if "dry_run" in request.query else published()
        )
        ended = self.cli.type("set", "url=y", "--yes", "--rollout", "abort")
        self.assertEqual(ended.out, "Published version 3 of default (1a2b3c4d.1.3).\n")

    def test_quorum_is_that_of_the_plan(self):
        ended = self.start("--wait", "applied", "--quorum", "50")
        self.assertEqual(ended.status, Exit.USAGE)
        self.assertIn("--quorum has no effect with --rollout", ended.err)
        self.assertEqual(self.cli.controller.asked, [])


class ShowTests(Case):
    """C{rollout status}, C{list}, C{show}, C{agents}, C{watch}"""

    def test_status_shows_the_open_rollout(self):
        ended = self.cli.type("rollout")
        self.assertEqual(ended.status, 0, ended.err)
        for said in ("12 of default, running", "3; the base is 2", "1 of 1 members settled.", "2     all   -"):
            self.assertIn(said, ended.out)
        self.assertEqual(json.loads(self.cli.type("rollout", "-o", "json").out), rollout())
        self.table[GET] = answer(rollout(gate={"checks": {"slo": "missing", "perf": "passed"}}))
        self.assertIn("Checks   slo missing, perf passed, in step 1\n", self.cli.type("rollout").out)
        self.assertEqual(self.cli.controller.asked[0].query, {"namespace": "default", "limit": "1"})

    def test_status_without_an_open_rollout_names_the_list(self):
        for page in (item(state="completed"), answer({"items": []})):
            self.table[LIST] = page
            ended = self.cli.type("rollout", "status")
            self.assertEqual(ended.status, 0)
            self.assertIn("No rollout of default is open; to see", ended.out)
            self.assertEqual(self.cli.type("rollout", "-o", "json").out, "null\n")

    def test_show_and_list_tell_the_end(self):
        self.table[GET] = answer(rollout("aborted", reason="requested"))
        ended = self.cli.type("rollout", "show", "12")
        self.assertIn("aborted (requested)", ended.out)
        self.assertIn("All agents get version 4, with the document of version 2", ended.out)
        self.table[LIST] = item(state="aborted")
        ended = self.cli.type("rollout", "list", "--limit", "1")
        self.assertEqual(lines(ended.out)[1].split()[:2], ["12", "aborted"])

    def test_agents_lists_failed_members_first(self):
        ended = self.cli.type("rollout", "agents")
        self.assertEqual([line.split()[0] for line in lines(ended.out)], ["ID", "a2", "a1"])
        self.assertIn("no such key", ended.out)
        self.cli.type("rollout", "agents", "12", "--outcome", "failed")
        self.assertEqual(self.cli.controller.asked[-1].query["outcome"], "failed")
        self.table[LIST] = answer({"items": []})
        self.assertEqual(self.cli.type("rollout", "agents").status, Exit.NOT_FOUND)

    def test_watch_ends_as_the_rollout_ends(self):
        for state, status in (("completed", Exit.OK), ("aborted", Exit.ROLLED_BACK), ("superseded", Exit.ROLLED_BACK)):
            self.table[GET] = [answer(rollout()), answer(rollout(state))]
            self.assertEqual(self.cli.type("rollout", "watch", "12").status, status)
        self.table[GET] = answer(rollout())
        self.assertEqual(self.cli.type("rollout", "watch", "--timeout", "2").status, Exit.NO_QUORUM)


class VerbTests(Case):
    """C{rollout pause}, C{resume}, C{promote}, C{abort}, C{replace}"""

    def setUp(self):
        super().setUp()
        for verb in ("pause", "resume", "promote", "abort", "replace", "checks"):
            self.table[f"POST {PATH}/{verb}"] = answer(rollout())
        self.table["GET /api/v1/config/versions/3"] = current_config({"url": "y", "limits": {"rate": 1}})
        self.table["GET /api/v1/config/versions/1"] = current_config({"url": "first"})

    def test_verbs_change_the_open_rollout(self):
        """A verb that widens the rollout is bound to the step that the user saw; a verb that stops it is not."""
        for words, body, tag in (
            (["pause", "-m", "errors"], {"comment": "errors"}, None),
            (["resume"], {}, '"r12.1"'),
            (["promote", "--yes"], {"to": "next"}, '"r12.1"'),
            (["promote", "--all", "--yes"], {"to": "all"}, '"r12.1"'),
            (["abort", "-m", "errors"], {"comment": "errors"}, None),
            (["replace", "--version", "1", "--yes"], {"rollback_of": 1}, '"r12.1"'),
            (["replace", "limits.rate=2", "-y"], {"config": {"url": "y", "limits": {"rate": 2}}}, '"r12.1"'),
        ):
            with self.subTest(words=words):
                ended = self.cli.type("rollout", *words)
                self.assertEqual(ended.status, 0, ended.err)
                self.assertIn("12 of default, running", ended.out)
                self.assertEqual(self.posts(f"{PATH}/{words[0]}")[-1], (body, tag))

    def test_check_that_passed_is_bound_to_the_step(self):
        for words, body, tag in (
            (["slo", "pass"], {"name": "slo", "pass": True}, '"r12.1"'),
            (["slo", "fail", "-m", "slow"], {"name": "slo", "pass": False, "comment": "slow"}, None),
            (["slo", "pass", "--step", "7"], {"name": "slo", "pass": True}, '"r12.7"'),
            (["slo", "fail", "--step", "7"], {"name": "slo", "pass": False}, '"r12.7"'),
        ):
            ended = self.cli.type("rollout", "check", *words)
            self.assertEqual(ended.status, 0, ended.err)
            self.assertEqual(self.posts(f"{PATH}/checks")[-1], (body, tag))
        self.assertEqual(self.cli.type("rollout", "check", "slo", "maybe").status, Exit.USAGE)

    def test_nothing_is_changed_without_an_open_rollout(self):
        self.table[LIST] = item(state="aborted")
        for words in (["pause"], ["resume"], ["promote", "-y"], ["abort"], ["replace", "a=1", "-y"]):
            ended = self.cli.type("rollout", *words)
            self.assertEqual(ended.status, Exit.NOT_FOUND)
            self.assertIn("No rollout of default is open. Nothing was changed.", ended.err)
        self.assertEqual({each.method for each in self.cli.controller.asked}, {"GET"})

    def test_promote_and_replace_ask_first(self):
        for words, said in (
            (["promote"], "Deliver version 3 to the next wave now? 1 of 1 members settled."),
            (["promote", "--all"], "Deliver version 3 to all agents now?"),
            (["replace", "url=z"], "Replace version 3 on 1 member of rollout 12?"),
        ):
            ended = self.cli.type("rollout", *words, answers="n\n")
            self.assertEqual(ended.status, Exit.FAILED)
            self.assertIn(said, ended.err)
            self.assertEqual({each.method for each in self.cli.controller.asked}, {"GET"})
            self.cli.controller.asked.clear()
            self.assertEqual(self.cli.type("rollout", *words).status, Exit.USAGE)
            self.assertEqual(self.cli.controller.asked, [])

    def test_replace_shows_the_diff(self):
        path = Path(self.mktemp())
        path.write_text('{"url": "z"}')
        ended = self.cli.type("rollout", "replace", str(path), "-y")
        self.assertIn('-  "url": "y",', ended.err)
        self.assertIn('+  "url": "z"', ended.err)
        self.assertEqual(self.posts(f"{PATH}/replace")[-1][0], {"config": {"url": "z"}})
        for words in ([], ["a=1", "--version", "1"]):
            self.assertEqual(self.cli.type("rollout", "replace", "-y", *words).status, Exit.USAGE)

    def test_wait_follows_the_rollout_to_its_end(self):
        for verb in (["resume"], ["promote", "-y"], ["replace", "a=1", "-y"]):
            for state, status in (("completed", Exit.OK), ("aborted", Exit.ROLLED_BACK)):
                self.table[GET] = [answer(rollout(), etag='"r12.1"'), answer(rollout(state))]
                ended = self.cli.type("rollout", *verb, "--wait", "-o", "json")
                self.assertEqual(ended.status, status, ended.err)
                self.assertEqual(json.loads(ended.out)["state"], state)
        self.assertEqual(self.cli.type("rollout", "resume", "--timeout", "5").status, Exit.USAGE)

    def test_abort_waits_for_all_members(self):
        behind = {"version": 4, "members": 2, "applied": 1, "failed": 0, "pending": 1}
        seen = [rollout(), rollout("aborted", recovery=behind), rollout("aborted")]
        self.table[GET] = [answer(each) for each in seen]
        ended = self.cli.type("rollout", "abort", "--wait")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertIn("1 of 1 exposed agent applied it.", ended.out)
        self.table[GET] = [answer(rollout()), answer(seen[1]), answer(seen[1])]
        ended = self.cli.type("rollout", "abort", "--wait", "--timeout", "0.5")
        self.assertEqual(ended.status, Exit.NO_QUORUM)
        self.assertIn("confdctl status --version 4", ended.err)

    def test_step_that_someone_else_made_is_a_conflict(self):
        self.table[f"POST {PATH}/promote"] = refusal(412, "version_mismatch", "The rollout is at r12.2.")
        self.assertEqual(self.cli.type("rollout", "promote", "-y").status, Exit.CONFLICT)


class PlansCase(Case):
    """A controller with two plans."""

    def setUp(self):
        super().setUp()
        self.canary = {"name": "canary", "waves": [{"count": 1}], "built_in": True}
        self.night = {
            "name": "night", "waves": [{"percent": 25, "select": "stage=canary"}], "select": "env!=dev", "bake": 600,
            "built_in": False,
        }  # fmt: skip
        self.table["GET /api/v1/plans"] = lambda request: answer({"items": [self.canary, self.night]})


class PlanTests(PlansCase):
    """C{plans}"""

    def test_list_shows_the_waves(self):
        out = self.cli.type("plans").out
        self.assertIn("canary  1, all", out)
        self.assertIn("night   25 % of stage=canary, all  env!=dev  600 s  -", out)
        self.assertEqual(json.loads(self.cli.type("plans", "-o", "json").out), [self.canary, self.night])

    def test_shown_plan_can_be_saved(self):
        ended = self.cli.type("plans", "show", "night")
        del self.night["built_in"]
        self.assertEqual(json.loads(ended.out), self.night)
        self.table["POST /api/v1/plans"] = answer(self.night)
        ended = self.cli.type("plans", "set", "-", stdin=ended.out.encode())
        self.assertEqual(ended.out, "Plan night is saved.\n")
        self.assertEqual(self.posts("/api/v1/plans"), [(self.night, None)])

    def test_unknown_plan_is_not_found(self):
        ended = self.cli.type("plans", "show", "nope")
        self.assertEqual(ended.status, Exit.NOT_FOUND)
        self.assertIn("confdctl plans lists all plans", ended.err)

    def test_remove_names_the_plan_in_the_path(self):
        self.table["DELETE /api/v1/plans/a%2Fb"] = answer({"message": "Plan removed"})
        self.assertEqual(self.cli.type("plans", "remove", "a/b").out, "Plan removed\n")

    def test_bad_plan_is_shown_with_its_violations(self):
        details = [{"pointer": "/waves/0", "message": "give count or percent"}]
        self.table["POST /api/v1/plans"] = refusal(422, "bad_plan", "The plan is bad.", details=details)
        ended = self.cli.type("plans", "set", "-", stdin=b"{}")
        self.assertEqual(ended.status, Exit.INVALID)
        self.assertIn("/waves/0: give count or percent", ended.err)


class CompletionTests(PlansCase):
    """Values of the controller in the completion of a shell."""

    def complete(self, words, incomplete=""):
        """Return the values that complete a command line."""
        with self.cli.session() as session:
            found = ShellComplete(cli, {"obj": session}, "confdctl", "_").get_completions(words, incomplete)
        return [each.value for each in found]

    def test_plans_rollouts_and_verbs_are_completed(self):
        for words, incomplete, wanted in (
            (["set", "--rollout"], "", ["canary", "night", "direct", "abort"]),
            (["rollback", "--rollout"], "n", ["night"]),
            (["plans", "show"], "c", ["canary"]),
            (["plans", "remove"], "", ["canary", "night"]),
            (["rollout", "show"], "", ["12"]),
            (["rollout", "watch"], "1", ["12"]),
            (["rollout", "agents"], "2", []),
            (["rollout"], "re", ["resume", "replace"]),
            (["-n", "edge", "rollout", "show"], "", ["12"]),
        ):
            with self.subTest(words=words):
                self.assertEqual(self.complete(words, incomplete), wanted)
        self.assertEqual(self.cli.controller.asked[-1].query["namespace"], "edge")

    def test_nothing_is_completed_without_a_controller(self):
        for there in (Unreached("It broke."), refusal(401, "unauthorized"), answer([])):
            self.table["GET /api/v1/plans"] = there
            self.assertEqual(self.complete(["plans", "show"]), [])
        self.cli.environ["CONFD_PROFILE"] = "nope"
        self.assertEqual(self.complete(["plans", "show"]), [])
