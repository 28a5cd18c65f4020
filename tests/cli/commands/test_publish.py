"""Tests of C{set} and C{rollback}: shown, asked, published, waited for; and nothing that was written is lost."""

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
    """A controller with version 2 in force, which takes one publish."""

    def setUp(self):
        self.cli = CliHarness()
        self.table = self.cli.controller.table
        self.table["GET /api/v1/config"] = current_config(BASE)
        self.table[POST] = publisher(published())

    def posts(self, path="/api/v1/config"):
        """What was asked for, dry runs left out."""
        return [each for each in self.cli.controller.requests("POST", path) if "dry_run" not in each.query]


class SetTests(Case):
    """C{set}"""

    def test_asks(self):
        """The difference is shown; agreed to, it is published if what was read is still in force."""
        ended = self.cli.type("set", "url=y", "limits.rate=2", "-m", "why", "--poll-interval", "7", answers="y\n")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertEqual(ended.out, "Published version 3 of default (1a2b3c4d.1.3).\n")
        self.assertIn("-x\n+y\n", ended.err)
        self.assertIn("for 4 agents (3 of them live)?", ended.err)
        (post,) = self.posts()
        self.assertEqual(post.body, {"url": "y", "limits": {"rate": 2}})
        self.assertEqual(post.query, {"namespace": "default", "comment": "why", "poll_interval": "7"})
        self.assertEqual(post.headers["If-Match"], f'"{TAG}"')
        self.assertTrue(post.headers["Idempotency-Key"])

    def test_declined(self):
        """Anything but yes changes nothing."""
        for said in ("n\n", "\n"):
            ended = self.cli.type("set", "url=y", answers=said)
            self.assertEqual(ended.status, Exit.FAILED)
            self.assertIn("Nothing was changed", ended.err)
        self.assertEqual(self.cli.type("set", "url=y", answers="").status, Exit.INTERRUPTED)
        self.assertEqual(self.posts(), [])

    def test_nobody_to_ask(self):
        """A script has to say --yes."""
        ended = self.cli.type("set", "url=y")
        self.assertEqual(ended.status, Exit.USAGE)
        self.assertIn("--yes", ended.err)
        self.assertEqual(self.cli.controller.asked, [])

    def test_wrong_arguments_are_refused_before_the_question_of_a_terminal(self):
        for words, said in ((["set"], "Nothing to publish"), (["set", "url"], "write KEY=VALUE")):
            self.assertIn(said, self.cli.type(*words).err)
        self.assertEqual(self.cli.controller.asked, [])

    def test_stdin(self):
        """A document from a pipe, in another namespace."""
        ended = self.cli.type("set", "-", "b=2", "--yes", "-n", "edge", "-o", "json", stdin=b'{"a": 1}')
        self.assertEqual(ended.status, 0, ended.err)
        self.assertEqual(json.loads(ended.out)["tag"], "1a2b3c4d.1.3")
        (post,) = self.posts()
        self.assertEqual((post.body, post.query["namespace"]), ({"a": 1, "b": 2}, "edge"))

    def test_dry_run(self):
        """Shown, and that is all."""
        ended = self.cli.type("set", "url=y", "--dry-run")
        self.assertEqual((ended.status, ended.out), (0, "--- a\n+++ b\n-x\n+y\n"))
        self.assertIn("version 3 of default, for 4 agents", ended.err)
        ended = self.cli.type("set", "url=y", "--dry-run", "-o", "json")
        self.assertEqual(json.loads(ended.out), preview())
        self.assertEqual(self.posts(), [])

    def test_same(self):
        """What is in force already is not published again; another poll interval is worth a version."""
        self.table[POST] = [answer(preview(text=""))] * 2 + [published()]
        ended = self.cli.type("set", "url=x", "--yes")
        self.assertEqual(ended.status, 0)
        self.assertIn("Nothing to publish", ended.out)
        self.assertEqual(self.posts(), [])
        self.assertEqual(self.cli.type("set", "--poll-interval", "9", "--yes").status, 0)
        self.assertEqual(self.posts()[0].query["poll_interval"], "9")

    def test_lost_race(self):
        """Told, with how to see what the other one did; --if-match asks for more or less."""
        self.table[POST] = publisher(refusal(412, "version_mismatch", "Somebody was faster."))
        ended = self.cli.type("set", "url=y", "--yes")
        self.assertEqual(ended.status, Exit.CONFLICT)
        self.assertIn("Somebody was faster.", ended.err)
        self.assertIn("confdctl diff 2", ended.err)
        self.table[POST] = publisher(published(), published())
        self.cli.type("set", "url=y", "--yes", "--if-match", "*")
        self.cli.type("set", "url=y", "--yes", "--if-match", "1a2b3c4d.1.1")
        self.assertEqual([each.headers["If-Match"] for each in self.posts()[1:]], ["*", '"1a2b3c4d.1.1"'])

    def test_lost_answer(self):
        """A publish whose answer was lost is sent again under its key; then it is said that nobody knows."""
        self.table[POST] = publisher(Unreached("It broke."), published())
        self.assertEqual(self.cli.type("set", "url=y", "--yes").status, 0)
        first, second = self.posts()
        self.assertEqual(first.headers, second.headers)
        self.table[POST] = publisher(*[Unreached("It broke.")] * 3)
        ended = self.cli.type("set", "url=y", "--yes")
        self.assertEqual(ended.status, Exit.UNREACHABLE)
        self.assertIn("confdctl history", ended.err)
        self.assertEqual(len(self.posts()), 5)

    def test_invalid(self):
        """Refused by the controller, before anybody is asked."""
        details = [{"pointer": "/url", "message": "is no URL"}]
        self.table[POST] = refusal(422, "schema_violation", "It does not fit.", details=details)
        ended = self.cli.type("set", "url=y", answers="y\n")
        self.assertEqual(ended.status, Exit.INVALID)
        self.assertEqual(lines(ended.err), ["confdctl: It does not fit.", "  /url: is no URL"])

    def test_usage(self):
        """Nothing to do, two files, limits without waiting."""
        for words in ([], ["a", "b"], ["a=1", "--quorum", "5"], ["a=1", "--timeout", "5"], ["a=1", "--quorum", "0"],
                      ["a=1", "--if-match", "x\r\ny"], ["a=\udcff"],
                      ["a=1", "--poll-interval", "0"], ["a=1", "--wait", "never"]):  # fmt: skip
            with self.subTest(words=words):
                self.assertEqual(self.cli.type("set", "--yes", *words).status, Exit.USAGE)
        self.assertEqual(self.posts(), [])

    def test_brokers_behind(self):
        """Not every broker has it: that is said, and it is published."""
        self.table[POST] = publisher(published(published=False))
        ended = self.cli.type("set", "url=y", "--yes")
        self.assertEqual(ended.status, 0)
        self.assertIn("Some brokers", ended.err)


class WaitTests(Case):
    """C{--wait applied}"""

    def setUp(self):
        super().setUp()
        self.seen = "GET /api/v1/config/versions/3/convergence"

    def test_reached(self):
        """Looked at until enough have it."""
        self.table[self.seen] = [answer(convergence(applied=n, pending=20 - n)) for n in (0, 18, 19)]
        ended = self.cli.type("set", "url=y", "--yes", "--wait", "applied", "--quorum", "95")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertIn("19 of 20 agents applied version 3", ended.out)
        self.assertEqual(len(self.cli.slept), 2)

    def test_not_reached(self):
        """The version is published; the status says that too few agents applied it in time."""
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

    def test_controller_restarts(self):
        """Waiting goes on; if it does not come back, that is said."""
        self.table[self.seen] = [Unreached("Gone."), refusal(503, "starting"), answer(convergence(applied=1))]
        self.assertEqual(self.cli.type("set", "url=y", "--yes", "--wait", "applied").status, 0)
        self.table[POST], self.table[self.seen] = publisher(published()), Unreached("Gone.")
        ended = self.cli.type("set", "url=y", "--yes", "--wait", "applied")
        self.assertEqual(ended.status, Exit.UNREACHABLE)
        self.assertIn("Published version 3", ended.out)

    def test_no_agents(self):
        """Nobody is waited for."""
        self.table[self.seen] = answer(convergence())
        self.assertEqual(self.cli.type("set", "url=y", "--yes", "--wait", "applied").status, 0)


class RollbackTests(Case):
    """C{rollback}"""

    def test_rollback(self):
        """The same way, with the version in the body."""
        self.table[BACK] = publisher(published(rollback_of=1))
        ended = self.cli.type("rollback", "1", "-m", "why", answers="y\n")
        self.assertEqual(ended.out, "Published version 3 of default (1a2b3c4d.1.3), with the document of version 1.\n")
        (post,) = self.posts("/api/v1/config/rollback")
        self.assertEqual((post.body, post.query), ({"version": 1, "comment": "why"}, {"namespace": "default"}))
        self.assertEqual(post.headers["If-Match"], f'"{TAG}"')

    def test_unknown(self):
        """Never was, or is gone."""
        for status, code in ((404, "unknown_version"), (410, "version_pruned")):
            self.table[BACK] = refusal(status, code)
            self.assertEqual(self.cli.type("rollback", "9", "--yes").status, Exit.NOT_FOUND)
        self.assertEqual(self.cli.type("rollback", "0", "--yes").status, Exit.USAGE)


class EditTests(Case):
    """C{set --edit}: with an editor that is a script."""

    def editor(self, *texts):
        """One that writes each of C{texts} in turn, and looks at nothing."""
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
        """The file that is named in what was said."""
        return Path(ended.err.partition("kept in ")[2].partition(";")[0])

    def test_edited(self):
        """What was written is published, and nothing is left behind."""
        self.editor('{"url": "edited"}')
        ended = self.cli.type("set", "--edit", answers="y\n")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertEqual(self.posts()[0].body, {"url": "edited"})
        self.assertNotIn("kept", ended.err)

    def test_not_applied(self):
        """What is published is not kept, whatever becomes of it on the agents."""
        self.table["GET /api/v1/config/versions/3/convergence"] = answer(convergence(failed=1))
        self.editor('{"url": "edited"}')
        ended = self.cli.type("set", "--edit", "--wait", "applied", answers="y\n")
        self.assertEqual(ended.status, Exit.NO_QUORUM)
        self.assertNotIn("kept", ended.err)

    def test_untouched(self):
        """Left as it was, nothing happens."""
        self.cli.environ["EDITOR"] = "true"
        ended = self.cli.type("set", "--edit", answers="")
        self.assertEqual((ended.status, self.posts()), (0, []))
        self.assertIn("The text was not edited", ended.err)

    def test_again(self):
        """No JSON, then refused, then right: the editor is offered again each time."""
        details = [{"pointer": "/url", "message": "is missing"}]
        replies = [refusal(422, "schema_violation", "Unfit.", details=details), answer(preview()), published()]
        self.table[POST] = replies
        self.editor("{", '{"a": 1}', '{"url": "edited"}')
        ended = self.cli.type("set", "--edit", answers="y\n\ny\n")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertIn("line 1, column 2", ended.err)
        self.assertIn("/url: is missing", ended.err)
        self.assertEqual(self.posts()[-1].body, {"url": "edited"})

    def test_kept(self):
        """Given up, declined, beaten, broken off, or the controller gone: the text is in a file that is named."""
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

    def test_no_editor(self):
        """One that is not there, or fails."""
        for editor, status in (("/nonexistent/editor", Exit.USAGE), ("'", Exit.USAGE), ("false", Exit.FAILED)):
            self.cli.environ["EDITOR"] = editor
            ended = self.cli.type("set", "--edit", answers="")
            self.assertEqual(ended.status, status)
            self.assertNotIn("kept", ended.err)
