"""Tests of C{explain}, C{open} and C{man}, and of C{status --wait}."""

import json
import re
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from confd.cli.glossary import read_glossary
from tests.cli.harness import CliHarness, answer, convergence, current_config
from tests.cli.test_app import commands
from tests.integration.servers import missing


class ExplainTests(SynchronousTestCase):
    """C{explain}"""

    def test_each_term_has_a_sentence_in_plain_text(self):
        glossary = read_glossary()
        self.assertGreater(len(glossary), 40)
        for term, text in glossary.items():
            self.assertRegex(text, r"\A[A-Z`].*\.\Z", term)
            self.assertNotRegex(text, r"``|:doc:", term)

    def test_terms_are_found_in_capitals_and_in_the_plural(self):
        cli = CliHarness()
        wanted = read_glossary()["quorum"]
        for words in (["quorum"], ["Quorums"]):
            self.assertEqual(cli.type("explain", *words).out, f"{wanted}\n")
        self.assertIn("quorum", cli.type("explain").out.splitlines())
        self.assertEqual(json.loads(cli.type("explain", "quorum", "-o", "json").out)["explanation"], wanted)
        ended = cli.type("explain", "qourum")
        self.assertEqual(ended.status, Exit.NOT_FOUND)
        self.assertIn("did you mean quorum?", ended.err)


class OpenTests(SynchronousTestCase):
    """C{open}"""

    def test_address_is_printed_and_shown(self):
        for shown, said in ((True, ""), (False, "No browser can be started here; copy the address.\n")):
            seen = []
            cli = CliHarness(browse=lambda url, seen=seen, shown=shown: (seen.append(url), shown)[1])
            ended = cli.type("open", "-n", "edge", "--url", "https://confd.example.com")
            self.assertEqual((ended.out, ended.err), ("https://confd.example.com/#overview/edge\n", said))
            self.assertEqual(seen, ["https://confd.example.com/#overview/edge"])


class ManualTests(SynchronousTestCase):
    """C{man}"""

    def test_page_has_every_command_and_option(self):
        page = CliHarness().type("man").out.replace(r"\-", "-")
        for words, command in commands():
            self.assertIn(f'.SS "confdctl {" ".join(words)} ', page)
            for each in command.params:
                if each.param_type_name == "option" and not each.hidden:
                    self.assertIn(each.opts[-1], page)
        self.assertNotIn("\b", page)

    def test_formatter_finds_no_mistake(self):
        page = CliHarness().type("man").out
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True, check=True, timeout=60
        )
        self.assertEqual(done.stderr, "")

    test_formatter_finds_no_mistake.skip = missing("groff")  # type: ignore[attr-defined]


class WaitTests(SynchronousTestCase):
    """C{status --wait}"""

    def setUp(self):
        self.cli = CliHarness()
        self.revision = {"tag": "t", "author": "ann", "updated_at": "2026-11-24T12:00:00Z", "comment": "",
                         "poll_interval_seconds": 30, "data": {}}  # fmt: skip
        self.cli.controller.table |= {
            "GET /api/v1/cluster": answer({"cluster_id": "c", "epoch": 1}),
            "GET /api/v1/config": current_config({}),
            "GET /api/v1/namespaces": answer([]),
        }

    def answer(self, version, *found):
        path = f"GET /api/v1/config/versions/{version}"
        self.cli.controller.table |= {
            path: answer(self.revision), f"{path}/convergence": [answer(each) for each in (*found, found[-1])]
        }  # fmt: skip

    def test_waits_for_the_current_version_or_another_one(self):
        for words, version in ((["--wait"], 2), (["--wait", "1"], 1), (["--wait", "--version", "1"], 1)):
            self.answer(version, convergence(applied=1, pending=1), convergence(applied=2))
            ended = self.cli.type("status", *words)
            self.assertEqual(ended.status, 0, ended.err)
            self.assertRegex(ended.out, re.compile(f"^Version +{version} ", re.MULTILINE))
            self.assertIn("2: 2 applied", ended.out)

    def test_quorum_that_is_not_reached_has_a_status(self):
        self.answer(2, *[convergence(applied=1, pending=1)] * 9)
        ended = self.cli.type("status", "--wait", "--timeout", "1")
        self.assertEqual(ended.status, Exit.NO_QUORUM)
        self.assertIn("Quorum not reached after 1 s.", ended.err)
        self.answer(2, convergence(applied=1, pending=1))
        self.assertEqual(self.cli.type("status", "--wait", "--quorum", "50").status, 0)

    def test_options_that_contradict_are_refused(self):
        for words in (["--quorum", "50"], ["--timeout", "5"], ["--wait", "1", "--version", "2"]):
            self.assertEqual(self.cli.type("status", *words).status, Exit.USAGE)
        self.assertEqual(self.cli.controller.asked, [])
