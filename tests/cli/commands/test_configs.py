"""Tests of C{get}, C{history} and C{diff}."""

import json
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from tests.cli.harness import CliHarness, answer, current_config, lines
from tests.cli.live_controller import LiveController
from tests.controller.harness import ADMIN

HISTORY = "GET /api/v1/config/history"


class GetTests(SynchronousTestCase):
    """C{get}"""

    def setUp(self):
        self.cli = CliHarness()
        self.cli.controller.table["GET /api/v1/config"] = current_config({"url": "a\x1bb", "limits": {"rate": 1}})

    def test_get_prints_json_by_default(self):
        self.assertEqual(json.loads(self.cli.type("get").out), {"url": "a\x1bb", "limits": {"rate": 1}})
        self.assertEqual(yaml.safe_load(self.cli.type("get", "-o", "yaml").out)["limits"], {"rate": 1})
        self.assertEqual(json.loads(self.cli.type("get", "--meta").out)["version"], 2)

    def test_get_prints_one_value_bare_or_as_json(self):
        self.assertEqual(self.cli.type("get", "url").out, "a\x1bb\n")
        self.assertEqual(self.cli.type("get", "url", "-o", "json").out, '"a\\u001bb"\n')
        self.assertEqual(self.cli.type("get", "limits.rate").out, "1\n")
        ended = self.cli.type("get", "limits.no")
        self.assertEqual((ended.status, ended.out), (Exit.NOT_FOUND, ""))

    def test_get_reads_another_version_with_options_before_or_after_the_command(self):
        self.cli.controller.table["GET /api/v1/config/versions/7"] = current_config({"a": 1})
        self.assertEqual(self.cli.type("-n", "edge", "get", "a", "--version", "7").out, "1\n")
        self.assertEqual(self.cli.type("-n", "no", "get", "a", "--version", "7", "-n", "edge").out, "1\n")
        self.assertEqual([each.query for each in self.cli.controller.asked], [{"namespace": "edge"}] * 2)


class HistoryTests(SynchronousTestCase):
    """C{history}"""

    def setUp(self):
        self.cli = CliHarness()
        self.items = [
            {"version": version, "epoch": 1, "tag": f"1a2b3c4d.1.{version}", "author": "ann", "checksum": "sha256:0",
             "created_at": "2026-11-24T12:00:00.5Z", "comment": "[red]\x1b[2J", "poll_interval_seconds": 30}
            for version in range(1200, 0, -1)
        ]  # fmt: skip
        self.cli.controller.table[HISTORY] = self._page

    def _page(self, request):
        before = int(request.query.get("before", 10**6))
        found = [each for each in self.items if each["version"] < before]
        page = found[: int(request.query["limit"])]
        return answer({"items": page} | ({"next": page[-1]["version"]} if len(found) > len(page) else {}))

    def test_history_escapes_text_of_operators(self):
        self.items[0]["rollback_of"] = 3
        head, first, *_ = lines(self.cli.type("history", "--limit", "2").out)
        self.assertEqual(head.split(), ["VERSION", "EPOCH", "PUBLISHED", "BY", "POLL", "ROLLBACK", "COMMENT"])
        self.assertEqual(
            first.split(), ["1200", "1", "2026-11-24", "12:00:00Z", "ann", "30", "s", "of", "3", "[red]\\x1b[2J"]
        )

    def test_history_marks_versions_of_rollouts(self):
        self.items[0] |= {"rollout": 12, "state": "dropped"}
        self.items[1] |= {"rollout": 11}
        head, *rows = lines(self.cli.type("history", "--limit", "3").out)
        place = head.index("ROLLOUT")
        self.assertEqual([row[place:].split()[0] for row in rows], ["12", "11", "-"])
        self.assertEqual(rows[0][place:].split()[1], "dropped")

    def test_history_follows_pages_up_to_the_limit(self):
        for limit, pages in ((1, [1]), (500, [500]), (501, [500, 1]), (5000, [500, 500, 500])):
            del self.cli.controller.asked[:]
            ended = self.cli.type("history", "--limit", str(limit), "-o", "json")
            self.assertEqual(json.loads(ended.out), self.items[:limit])
            self.assertEqual([int(each.query["limit"]) for each in self.cli.controller.asked], pages)


class DiffTests(SynchronousTestCase):
    """C{diff}"""

    def setUp(self):
        self.cli = CliHarness()
        self.found = {"from": 1, "to": 2, "patch": [{"op": "add"}], "text": "--- 1\n+++ 2\n-a\x1b\n+b\n"}
        self.cli.controller.table["GET /api/v1/config/diff"] = lambda request: answer(self.found)
        self.cli.controller.table["GET /api/v1/config"] = current_config({})

    def _query(self):
        return self.cli.controller.asked[-1].query

    def test_diff_compares_the_last_change_one_version_or_two(self):
        self.assertEqual(self.cli.type("diff").out, "--- 1\n+++ 2\n-a\\x1b\n+b\n")
        self.assertEqual(self._query(), {"namespace": "default", "from": "1", "to": "2"})
        self.cli.type("diff", "7")
        self.assertEqual(self._query(), {"namespace": "default", "from": "7"})
        self.cli.type("diff", "7", "5")
        self.assertEqual(self._query(), {"namespace": "default", "from": "7", "to": "5"})
        self.assertEqual(json.loads(self.cli.type("diff", "-o", "json").out), self.found)

    def test_diff_says_when_documents_are_the_same(self):
        self.found |= {"patch": [], "text": ""}
        ended = self.cli.type("diff", "1", "2")
        self.assertEqual((ended.status, ended.out), (0, ""))
        self.assertIn("same document", ended.err)

    def test_diff_compares_versions_and_files(self):
        self.cli.controller.table |= {
            "GET /api/v1/config": current_config({"b": 1, "a": 2}),
            "GET /api/v1/config/versions/7": answer({"version": 7, "data": {"a": 3}}),
        }
        path = Path(self.mktemp()).with_suffix(".yaml")
        path.write_text("a: 2\nb: 5\n")
        ended = self.cli.type("diff", str(path))
        self.assertEqual((ended.status, ended.out.splitlines()[:2]), (0, ["--- version 2", f"+++ {path}"]))
        self.assertIn('-  "b": 1\n+  "b": 5', ended.out)
        found = json.loads(self.cli.type("diff", "7", str(path), "-o", "json").out)
        self.assertEqual((found["from"], found["patch"][0]), ("version 7", {"op": "replace", "path": "/a", "value": 2}))
        ended = self.cli.type("diff", str(path), "-", "--format", "yaml", stdin=b"{b: 5, a: 2}")
        self.assertEqual((ended.status, ended.out), (0, ""))
        self.assertIn("have the same document", ended.err)
        for word in ("0", "9" * 40):
            self.assertEqual(self.cli.type("diff", word).status, Exit.USAGE)


class ChangeTests(SynchronousTestCase):
    """C{validate}, C{unset}, C{edit} and C{undo}, with a controller."""

    def setUp(self):
        self.live = LiveController()
        self.cli = CliHarness(self.live, {"HOME": "/nonexistent", "ADMIN_PASSWORD": ADMIN[1]})
        self.done("set", "url=https://a.example", "limits.rate=1", "limits.burst=2", "-y")

    def done(self, *words, status=0, **how):
        ended = self.cli.type(*words, **how)
        self.assertEqual(ended.status, status, ended.err)
        return ended

    def document(self):
        return json.loads(self.live.document())

    def test_validate_checks_a_document_and_publishes_nothing(self):
        before, differs = self.live.document(), "It differs from the current document."
        said = self.done("validate", "-", stdin=b'{"url": "https://b.example"}').out
        self.assertEqual(said, f"Standard input is a valid document for default. {differs}\n")
        self.assertIn("It is the current document.", self.done("validate", "-", stdin=before).out)
        self.assertIn("/url", self.done("validate", "-", status=Exit.INVALID, stdin=b'{"url": "ftp://x"}').err)
        self.assertEqual(self.live.document(), before)

    def test_arguments_are_checked_before_the_terminal(self):
        for words, status in (
            (["rollback", "99"], Exit.NOT_FOUND), (["set", "url=ftp://x"], Exit.INVALID),
            (["agents", "forget", "nobody"], Exit.NOT_FOUND), (["set", "n=1"], Exit.USAGE), (["edit"], Exit.USAGE),
        ):  # fmt: skip
            ended = self.done(*words, status=status)
            self.assertEqual("no terminal" in ended.err, status is Exit.USAGE, ended.err)

    def test_unset_removes_keys(self):
        self.done("unset", "limits.rate", "n", "-y")
        self.assertEqual(self.document(), {"url": "https://a.example", "limits": {"burst": 2}})
        self.assertIn("no key limits.rate", self.done("unset", "limits.rate", "-y", status=Exit.NOT_FOUND).err)

    def test_undo_publishes_the_version_before(self):
        self.done("set", "url=https://b.example", "-y")
        self.assertIn("Rolling back to version 2.", self.done("undo", "-y").err)
        self.assertEqual(self.document()["url"], "https://a.example")

    def test_edit_publishes_the_edited_text(self):
        editor = Path(self.mktemp())
        editor.write_text("#!/bin/sh\nsed -i s/a.example/c.example/ $1\n")
        editor.chmod(0o755)
        self.cli.environ["EDITOR"] = str(editor.resolve())
        self.done("edit", "-y")
        self.assertEqual(self.document()["url"], "https://c.example")

    def test_history_is_of_one_author_or_since_a_time(self):
        for words, wanted in (
            (["--author", "admin"], [2, 1]), (["--author", "nobody"], []), (["--since", "100w"], [2, 1]),
            (["--since", "2200-01-01"], []),
        ):  # fmt: skip
            found = json.loads(self.done("history", *words, "-o", "json").out)
            self.assertEqual([each["version"] for each in found], wanted, words)

    def test_namespace_is_refused_with_the_names_of_its_document(self):
        ended = self.done("namespaces", "create", "edge", "a=1", status=Exit.INVALID)
        self.assertIn("url", ended.err)
        self.assertNotIn("/config", ended.err)


class ValueTests(SynchronousTestCase):
    """What C{confdctl set} makes of values."""

    def set(self, *words):
        """Preview a change of an empty document; return what was sent, and what was said."""
        self.cli = CliHarness()
        self.cli.controller.table["GET /api/v1/config"] = current_config({})
        self.cli.controller.table["POST /api/v1/config"] = answer(
            {"message": "", "dry_run": True, "version": 2, "epoch": 1, "patch": [], "text": ""}
            | {"agents": {"targeted": 0, "live": 0}}
        )
        result = self.cli.type("set", *words, "--dry-run")
        self.assertEqual(result.status, 0, result.err)
        [sent] = self.cli.controller.requests("POST", "/api/v1/config")
        return sent.body, result.err

    def test_value_that_its_reader_may_understand_differently_is_named(self):
        for word, value, said in (
            ("tag=72225e2", 7222500.0, "tag: 72225e2 is the number 7222500.0; for a text write --string KEY=TEXT"),
            ("ver=1.10", 1.1, "ver: 1.10 is the number 1.1;"),
            ("n=01", "01", "n: 01 is a text, not a number;"),
            ("n=.5", ".5", "n: .5 is a text, not a number;"),
            ("n=0x1f", "0x1f", "n: 0x1f is a text, not a number;"),
            ("n=1_000", "1_000", "n: 1_000 is a text, not a number;"),
            ("flag=True", "True", "flag: True is a text; JSON writes true, and KEY:=JSON takes nothing else."),
            ("x=None", "None", "x: None is a text; JSON writes null"),
        ):
            body, text = self.set(word)
            self.assertEqual(list(body.values()), [value])
            self.assertIn(said, text)

    def test_plain_values_and_values_with_a_type_are_taken_without_a_word(self):
        for words, body in (
            (("n=1",), {"n": 1}),
            (("n=1.5",), {"n": 1.5}),
            (("n=-0.25",), {"n": -0.25}),
            (("flag=true",), {"flag": True}),
            (("host=10.0.0.1",), {"host": "10.0.0.1"}),
            (("sha=72225e2f",), {"sha": "72225e2f"}),
            (("day=2026-11-29",), {"day": "2026-11-29"}),
            (("tag:=72225e2",), {"tag": 7222500.0}),
            (("--string", "tag=72225e2", "--json", "n=[1]"), {"tag": "72225e2", "n": [1]}),
            (("--string", "a=b=c"), {"a": "b=c"}),
        ):
            sent, text = self.set(*words)
            self.assertEqual(sent, body)
            self.assertNotIn(" is ", text.replace("this would", ""))
