"""Tests of C{agents}, C{status} and C{watch}."""

import json

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from confd.cli.transport import Unreached
from confd.codec import sse
from tests.cli.harness import CliHarness, Reply, answer, convergence, current_config, lines, refusal, rollout


def agent(number, **more):
    """Return an agent as the API describes it."""
    return {
        "id": f"id-{number:04}", "registered_at": "2026-11-24T12:00:00Z", "last_poll": None, "metadata": "",
        "hostname": "", "namespace": "default", "strategy": "POLLER", "state": None, "applied_version": None,
        "applied_tag": None, "error": None, "verified": None, "repairs": 0, "reported_at": None, **more,
    }  # fmt: skip


class AgentsTests(SynchronousTestCase):
    """C{agents}"""

    def setUp(self):
        self.cli = CliHarness()
        self.fleet = [agent(number, metadata="eu" if number % 2 else "us") for number in range(1200)]
        self.cli.controller.table["GET /api/v1/agents"] = self._page

    def _page(self, request):
        after = request.query.get("after", "")
        page = [each for each in self.fleet if each["id"] > after][:500]
        more = page and page[-1] is not self.fleet[-1]
        link = {"link": f'</api/v1/agents?namespace=default&after={page[-1]["id"]}>; rel="next"'} if more else {}
        return answer(page, **link)

    def _ids(self, *words):
        return [each["id"] for each in json.loads(self.cli.type("agents", *words, "-o", "json").out)]

    def test_list_follows_pages_up_to_the_limit_and_says_when_more_match(self):
        self.assertEqual(self._ids("--limit", "5000"), [each["id"] for each in self.fleet])
        ended = self.cli.type("agents", "--limit", "3")
        self.assertEqual(len(lines(ended.out)), 4)
        self.assertIn("More than 3", ended.err)

    def test_state_is_filtered_by_the_controller_and_text_by_confdctl(self):
        self.assertEqual(self._ids("list", "--match", "eu", "--limit", "2"), ["id-0001", "id-0003"])
        self.assertEqual(self._ids("--match", "0042"), ["id-0042"])
        self.cli.type("agents", "--state", "failed")
        self.assertEqual(self.cli.controller.asked[-1].query["state"], "failed")
        self.assertEqual(self.cli.type("agents", "--state", "odd").status, Exit.USAGE)

    def test_agents_without_a_report_are_pending(self):
        self.fleet = [agent(1), agent(2, state="applied"), agent(3)]
        self.assertEqual(self._ids("--state", "pending"), ["id-0001", "id-0003"])
        self.assertNotIn("state", self.cli.controller.asked[-1].query)

    def test_selector_is_sent_with_each_page(self):
        self.cli.type("agents", "-l", "region in (us,eu),!gpu", "--limit", "5000")
        self.assertEqual([each.query["select"] for each in self.cli.controller.asked], ["region in (us,eu),!gpu"] * 3)
        self.cli.type("agents")
        self.assertNotIn("select", self.cli.controller.asked[-1].query)

    def test_error_of_a_selector_is_printed_once(self):
        sentence = "The selector is wrong at column 3: expected the key of a label."
        details = [{"column": 3, "message": "expected the key of a label"}]
        self.cli.controller.table["GET /api/v1/agents"] = refusal(400, "bad_selector", sentence, details=details)
        ended = self.cli.type("agents", "--select", "a,")
        self.assertEqual(ended.err.count("expected the key of a label"), 1)
        self.assertIn("column 3", ended.err)

    def test_label_sets_and_removes(self):
        found = agent(7, labels={"id": "id-7", "stage": "a\x1b"}, labels_set={"stage": "a"}, reports=[])
        self.cli.controller.table |= {
            "GET /api/v1/agents/id-7": answer({"id": "id-7"}),
            "POST /api/v1/agents/id-7/labels": answer(found),
        }
        ended = self.cli.type("agents", "label", "id-7", "stage=canary", "old-", "gpu=", "a=b-")
        self.assertEqual(ended.status, 0, ended.err)
        asked = self.cli.controller.asked[-1]
        self.assertEqual(asked.body, {"stage": "canary", "old": None, "gpu": "", "a": "b-"})
        self.assertIn("stage  a\\x1b", ended.out)
        self.assertEqual(json.loads(self.cli.type("agents", "label", "id-7", "a=", "-o", "json").out), found)

    def test_label_refuses_words_that_change_nothing(self):
        for words in (("stage",), ("a=b", "a-"), ("a=1", "a=2"), ()):
            self.assertEqual(self.cli.type("agents", "label", "id-7", *words).status, Exit.USAGE, words)
        self.assertEqual(self.cli.controller.asked, [])

    def test_list_warns_of_a_shared_id(self):
        self.fleet[:] = [agent(1, duplicate=True), agent(2, duplicate=False), agent(3)]
        ended = self.cli.type("agents")
        self.assertEqual(lines(ended.err), ["Two agents share the id id-0001; give one of them another CACHE_FILE."])
        self.assertEqual(len(lines(ended.out)), 4)

    def test_list_escapes_text_of_agents(self):
        self.fleet[:] = [agent(1, hostname="\x1b[31mh\n[bold]x", metadata="\u202eolleh", state="failed", error="\x07")]
        ended = self.cli.type("agents")
        self.assertIn("\\x1b[31mh\\n[bold]x", ended.out)
        self.assertIn("\\u202eolleh", ended.out)
        self.assertNotIn("\x1b", ended.out)

    def test_show_prints_an_agent_and_its_reports(self):
        report = {
            "version": 2,
            "tag": "1a.1.2",
            "state": "failed",
            "error": "no\x1b",
            "verified": True,
            "at": None,
            "ms": {},
        }
        self.cli.controller.table["GET /api/v1/agents/id-7"] = answer(agent(7, reports=[report], hostname="h\x1b"))
        out = self.cli.type("agents", "show", "id-7").out
        self.assertIn("h\\x1b", out)
        self.assertIn("no\\x1b", out)
        self.assertEqual(self.cli.type("agents", "show", "id/8").status, Exit.NOT_FOUND)
        self.assertIn("/api/v1/agents/id%2F8", [each.path for each in self.cli.controller.asked])

    def test_show_prints_labels_as_they_are_declared(self):
        labels = {"labels": {"gpu": "", "stage": "dev"}, "labels_set": {}, "labels_ignored": ["No good", "id=x\x1b"]}
        self.cli.controller.table["GET /api/v1/agents/id-7"] = answer(agent(7, reports=[], **labels))
        out = self.cli.type("agents", "show", "id-7").out
        for line in ("Labels gpu=,stage=dev", "ignored No good,id=x\\x1b", "State pending"):
            self.assertIn(line, [" ".join(each.split()) for each in lines(out)])
        self.assertNotIn("labels_", out)

    def test_beginning_of_an_id_or_a_hostname_names_an_agent(self):
        self.fleet = [agent(number, hostname=f"web-{number % 1000}") for number in range(1, 1200)]
        for number in (7, 300):
            self.cli.controller.table[f"GET /api/v1/agents/id-{number:04}"] = answer(self.fleet[number - 1])
        for word, wanted in (("id-0300", 300), ("id-030", None), ("web-7", None), ("web-300", 300), ("web-", None)):
            ended = self.cli.type("agents", "show", word)
            if wanted is not None:
                self.assertIn(f"id-{wanted:04}\n", ended.out, word)
            else:
                self.assertNotEqual(ended.status, 0, word)
        self.assertIn("More than one agent is named web-7", self.cli.type("agents", "show", "web-7").err)
        self.assertIn("id-0007 (web-7)", self.cli.type("agents", "show", "web-7").err)
        self.fleet = self.fleet[:10]
        self.assertIn("id-0007\n", self.cli.type("agents", "show", "id-0007").out)
        ended = self.cli.type("agents", "forget", "web-77", "-y")
        self.assertEqual(ended.status, Exit.NOT_FOUND)
        self.assertIn("No agent of default has the id or the hostname web-77", ended.err)

    def test_forget_asks_first(self):
        self.cli.controller.table |= {
            "GET /api/v1/agents/id-7": answer({"id": "id-7", "hostname": "h"}),
            "DELETE /api/v1/agents/id-7": answer({"message": "Agent id-7 forgotten"}),
        }
        ended = self.cli.type("agents", "forget", "id-7", answers="n\n")
        self.assertEqual(ended.status, Exit.FAILED)
        self.assertIn("Forget the agent id-7 (h)?", ended.err)
        self.assertEqual({each.method for each in self.cli.controller.asked}, {"GET"})
        self.assertIn("forgotten", self.cli.type("agents", "forget", "id-7", "-y").out)

    def test_reset_asks_first(self):
        self.cli.controller.table |= {
            "GET /api/v1/agents/id-7": answer({"id": "id-7", "hostname": "h"}),
            "POST /api/v1/agents/id-7/reset": answer({"message": "Agent id-7 gets a new token"}),
        }
        ended = self.cli.type("agents", "reset", "id-7", answers="n\n")
        self.assertEqual(ended.status, Exit.FAILED)
        self.assertIn("Reset the token of the agent id-7 (h)?", ended.err)
        self.assertEqual({each.method for each in self.cli.controller.asked}, {"GET"})
        self.assertIn("gets a new token", self.cli.type("agents", "reset", "id-7", "-y").out)

    def test_block_asks_first_and_unblock_allows_the_agent_again(self):
        self.cli.controller.table |= {
            "DELETE /api/v1/agents/id-7": answer({"message": "Agent id-7 blocked"}),
            "DELETE /api/v1/blocked/id-7": answer({"message": "Agent id-7 may register again"}),
            "GET /api/v1/blocked": answer({"items": ["id-7", "id-8"]}),
        }
        self.assertEqual(self.cli.type("agents", "block", "id-7", answers="n\n").status, Exit.FAILED)
        self.assertEqual({each.method for each in self.cli.controller.asked}, {"GET"})
        self.assertIn("blocked", self.cli.type("agents", "block", "id-7", "-y").out)
        self.assertEqual(self.cli.controller.asked[-1].query, {"block": "true"})
        self.assertIn("id-8", self.cli.type("agents", "blocked").out)
        self.assertIn("may register again", self.cli.type("agents", "unblock", "id-7").out)


class StatusTests(SynchronousTestCase):
    """C{status}"""

    def setUp(self):
        self.cli = CliHarness()
        laggard = {"id": "id-9", "hostname": "h\x1b", "state": "failed", "version": 1, "error": "no", "last_seen": None}
        revision = {"tag": "1a2b3c4d.1.2", "updated_at": "2026-11-24T12:00:00Z", "author": "ann", "comment": "why"}
        self.cli.controller.table |= {
            "GET /api/v1/cluster": answer({"cluster_id": "c-1", "epoch": 1, "ahead": {"agents": 0}, "foreign": []}),
            "GET /api/v1/config": current_config({}),
            "GET /api/v1/config/versions/2": current_config({"url": "x"}, **revision),
            "GET /api/v1/config/versions/2/convergence": answer(
                convergence(applied=2, failed=1, silent=3) | {"laggards": [laggard]}
            ),
            "GET /api/v1/namespaces": answer([{"name": "default", "agents": 6, "live_agents": 6}]),
        }

    def test_status_prints_version_convergence_and_agents_behind(self):
        ended = self.cli.type("status")
        self.assertEqual(ended.status, 0, ended.err)
        for words in (
            "c-1, epoch 1", "2 (1a2b3c4d.1.2)", "2026-11-24 12:00:00Z by ann", "why", "every 30 s",
            "6: 2 applied, 1 failed, 3 silent", "median 12 ms, p99 90 ms, slowest -", "h\\x1b",
        ):  # fmt: skip
            self.assertIn(words, ended.out)
        self.assertIn("4 of 6 agents are behind", ended.err)

    def test_status_names_ten_agents_behind_or_all_known(self):
        path = "GET /api/v1/config/versions/2/convergence"
        behind = [
            {"id": f"id-{number}", "hostname": "h", "state": "silent", "version": 1, "error": "", "last_seen": None}
            for number in range(100)
        ]
        self.cli.controller.table[path] = answer(convergence(applied=2, silent=101) | {"laggards": behind})
        for words, rows, said in (
            ([], 10, "101 of 103 agents are behind; --all names more of them."),
            (["--all"], 100, "101 of 103 agents are behind; confdctl agents lists all agents."),
        ):
            ended = self.cli.type("status", *words)
            self.assertEqual(ended.out.count("id-"), rows)
            self.assertIn(said, ended.err)

    def test_status_names_the_open_rollout(self):
        path = "GET /api/v1/config/versions/2/convergence"
        found = convergence(applied=2) | {"rollout": {"id": 12, "candidate": 3, "members": 1}}
        self.cli.controller.table[path] = answer(found)
        self.assertIn("Rollout      12 delivers version 3 to 1 member", self.cli.type("status").out)

    def test_status_counts_agents_that_are_silent_now_whatever_they_reported(self):
        self.assertNotIn("Silent", self.cli.type("status").out)
        counts = {"name": "default", "agents": 6, "live_agents": 2}
        self.cli.controller.table["GET /api/v1/namespaces"] = answer([{"name": "edge"}, counts])
        said = "Silent       4 agents now; confdctl agents --state silent names them"
        self.assertIn(said, self.cli.type("status").out)

    def test_status_for_scripts_has_no_document(self):
        value = json.loads(self.cli.type("status", "-o", "json").out)
        self.assertEqual(value["convergence"]["applied"], 2)
        self.assertNotIn("data", value["version"])


class WatchTests(SynchronousTestCase):
    """C{watch}"""

    def setUp(self):
        self.cli = CliHarness()
        self.config = {"namespace": "default", "version": 3, "tag": "1a2b3c4d.1.3", "author": "ann", "comment": "w\x1b"}
        self.agents = {"agents": [agent(1, hostname="h\x1b", state="failed", error="no")], "more": True}

    def _connection(self, **events):
        return [Reply(200, {}, b""), *(sse.frame(name, json.dumps(value).encode()) for name, value in events.items())]

    def test_watch_prints_a_line_for_each_event_and_skips_heartbeats(self):
        events = self._connection(
            config=self.config, heartbeat={}, agents=self.agents, convergence=convergence(applied=4), rollout=rollout()
        )
        self.cli.controller.pieces = [events]
        ended = self.cli.type("watch", "--count", "4")
        self.assertEqual(
            lines(ended.out),
            [
                "12:00:00  config       1a2b3c4d.1.3 by ann: w\\x1b",
                "12:00:00  agents       h\\x1b failed: no",
                "12:00:00  agents       ... and more",
                "12:00:00  convergence  version 3 on 4 agents: 4 applied; median 12 ms, p99 90 ms, slowest -",
                "12:00:00  rollout      12, wave 1 of 2: 1 of 1 members settled.",
            ],
        )

    def test_watch_prints_a_version_before_its_convergence(self):
        pieces = [Reply(200, {}, b"")]
        newer = self.config | {"version": 4, "tag": "1a2b3c4d.1.4"}
        for name, value in (
            ("config", self.config), ("convergence", convergence(applied=4)),
            ("convergence", convergence(pending=4) | {"version": 4}), ("config", newer),
            ("convergence", convergence(pending=2) | {"version": 5}), ("heartbeat", {}), ("config", self.config),
        ):  # fmt: skip
            pieces.append(sse.frame(name, json.dumps(value).encode()))
        self.cli.controller.pieces = [pieces]
        out = self.cli.type("watch", "--count", "6", "-o", "json").out
        found = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([(each["event"], each["data"]["version"]) for each in found], [
            ("config", 3), ("convergence", 3), ("config", 4), ("convergence", 4), ("convergence", 5), ("config", 3),
        ])  # fmt: skip

    def test_live_watch_is_a_line_for_each_event_in_a_pipe_and_has_one_form(self):
        events = self._connection(config=self.config, convergence=convergence(applied=4))
        self.cli.controller.pieces = [[Unreached("Gone.")], events]
        ended = self.cli.type("watch", "--live", "--count", "2")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertEqual(
            lines(ended.err),
            [
                "default: waiting for the first event.",
                "Gone. Reconnecting in 1 s.",
                "12:00:00  config       1a2b3c4d.1.3 by ann: w\\x1b",
                "12:00:00  convergence  version 3 on 4 agents: 4 applied; median 12 ms, p99 90 ms, slowest -",
            ],
        )
        self.assertEqual(self.cli.type("watch", "--live", "-o", "json").status, Exit.USAGE)

    def test_watch_prints_json_lines_of_the_chosen_kind(self):
        self.cli.controller.pieces = [self._connection(agents=self.agents, config=self.config)]
        ended = self.cli.type("watch", "--count", "1", "--only", "config", "-o", "json")
        self.assertEqual(json.loads(ended.out), {"event": "config", "data": self.config})
        self.assertEqual(ended.out.count("\n"), 1)

    def test_watch_reconnects_with_growing_pauses_until_an_event_arrives(self):
        gone = [Unreached("Gone.")]
        self.cli.controller.pieces = [
            gone, gone, gone, self._connection(heartbeat={}), self._connection(config=self.config),
        ]  # fmt: skip
        ended = self.cli.type("watch", "--count", "1")
        self.assertEqual(ended.status, 0)
        self.assertEqual(self.cli.slept, [1, 2, 4, 1])
        self.assertIn("Gone. Reconnecting in 4 s.", ended.err)

    def test_watch_asks_for_a_missing_password(self):
        self.cli.controller.pieces = [[refusal(401, "unauthenticated")], self._connection(config=self.config)]
        self.assertEqual(self.cli.type("watch", "--count", "1", answers="secret\n").status, 0)

    def test_watch_ends_at_a_lasting_refusal(self):
        self.cli.controller.pieces = [[refusal(404, "unknown_namespace")], [Reply(200, {}, b""), b"data: {\n\n"]]
        self.assertEqual(self.cli.type("watch").status, Exit.NOT_FOUND)
        self.assertEqual(self.cli.type("watch").status, Exit.FAILED)
