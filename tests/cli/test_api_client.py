"""Tests of L{confd.cli.api_client}: every way of being refused ends in a status and a sentence."""

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import CommandError, Exit
from confd.cli.transport import Reply, Unreached
from tests.cli.harness import CliHarness, answer, current_config, lines, refusal

CONFIG = "GET /api/v1/config"


def busy(status, seconds, **more):
    """A refusal that asks to come back later."""
    return Reply(status, {"retry-after": str(seconds), **more}, refusal(status, "busy", "It is busy.").body)


class LaterTests(SynchronousTestCase):
    """C{Retry-After} of 429 and 503 is honoured within reason."""

    def setUp(self):
        self.cli = CliHarness()

    def test_comes_back(self):
        """After the time that the controller asks for, with jitter; it is said on standard error."""
        for status in (429, 503):
            self.cli.controller.table[CONFIG] = [busy(status, 4), busy(status, 2), current_config({"url": "http://x"})]
            self.cli.slept.clear()
            ended = self.cli.type("-o", "json", "get")
            self.assertEqual((ended.status, ended.out), (Exit.OK, '{\n  "url": "http://x"\n}\n'), ended.err)
            first, second = self.cli.slept
            self.assertTrue(4 <= first <= 5 and 2 <= second <= 2.5, self.cli.slept)
            self.assertEqual(ended.err.count("It is busy. Retrying in "), 2)

    def test_dates(self):
        """A date counts from the controller's own clock."""
        dates = {"retry-after": "Sun, 29 Nov 2026 08:00:07 GMT", "date": "Sun, 29 Nov 2026 08:00:00 GMT"}
        self.cli.controller.table[CONFIG] = [busy(503, "", **dates), current_config({})]
        self.assertEqual(self.cli.type("get").status, Exit.OK)
        (slept,) = self.cli.slept
        self.assertTrue(7 <= slept <= 8.75, slept)

    def test_gives_up(self):
        """After a few tries, and at once where it would take longer than a request may."""
        self.cli.controller.table[CONFIG] = busy(429, 1)
        ended = self.cli.type("get")
        self.assertEqual((ended.status, len(self.cli.controller.asked)), (Exit.UNREACHABLE, 3))
        self.assertEqual(lines(ended.err)[-1], "confdctl: It is busy.")
        for asked in (60, 10**30):
            self.cli = CliHarness()
            self.cli.controller.table[CONFIG] = busy(503, asked)
            ended = self.cli.type("get")
            self.assertEqual((ended.status, len(self.cli.controller.asked)), (Exit.UNREACHABLE, 1))
            self.assertEqual((self.cli.slept, lines(ended.err)[0]), ([], "confdctl: It is busy."))
            self.assertIn(f"in {min(asked, 300)} s", lines(ended.err)[1])
        self.cli = CliHarness()
        self.cli.controller.table[CONFIG] = [busy(503, 20), busy(503, 20)]
        self.assertEqual(self.cli.type("get").status, Exit.UNREACHABLE)
        self.assertEqual(len(self.cli.slept), 1, "no longer in all than one request may take")

    def test_rubbish(self):
        """What says nothing is no reason to wait; nor is it with another status."""
        for reply in (busy(503, "soon"), busy(503, -1), busy(500, 1), busy(404, 1)):
            self.cli = CliHarness()
            self.cli.controller.table[CONFIG] = reply
            self.assertNotEqual(self.cli.type("get").status, Exit.OK)
            self.assertEqual((len(self.cli.controller.asked), self.cli.slept), (1, []))

    def test_changes(self):
        """What may have been done is not done twice; 429 says that it was not done."""
        where = "DELETE /api/v1/namespaces/blue"
        self.cli.controller.table[where] = busy(503, 1)
        self.assertEqual(self.cli.type("namespaces", "retire", "blue", "-y").status, Exit.UNREACHABLE)
        self.assertEqual(len(self.cli.controller.requests("DELETE", "/api/v1/namespaces/blue")), 1)
        self.cli.controller.table[where] = busy(429, 1)
        self.assertEqual(self.cli.type("namespaces", "retire", "blue", "-y").status, Exit.UNREACHABLE)
        self.assertEqual(len(self.cli.controller.requests("DELETE", "/api/v1/namespaces/blue")), 4)


class RefusalTests(SynchronousTestCase):
    """What is said when it does not work."""

    def setUp(self):
        self.cli = CliHarness()

    def _get(self, reply, *options, **how):
        self.cli.controller.table[CONFIG] = reply
        ended = self.cli.type(*options, "get", **how)
        self.assertEqual(ended.out, "")
        self.assertNotIn("Traceback", ended.err)
        return ended

    def test_statuses(self):
        """Each HTTP status has one of ours, and the controller's sentence is shown."""
        for status, wanted in (
            (400, Exit.USAGE), (403, Exit.DENIED), (404, Exit.NOT_FOUND), (410, Exit.NOT_FOUND), (409, Exit.CONFLICT),
            (412, Exit.CONFLICT), (413, Exit.INVALID), (422, Exit.INVALID), (429, Exit.UNREACHABLE), (418, Exit.FAILED),
            (500, Exit.FAILED), (503, Exit.UNREACHABLE),
        ):  # fmt: skip
            with self.subTest(status=status):
                ended = self._get(refusal(status, "some_code", "This is so, do that."))
                self.assertEqual(ended.status, wanted)
                self.assertTrue(ended.err.startswith("confdctl: This is so, do that."), ended.err)

    def test_violations(self):
        """Each with its pointer, a line each."""
        details = [{"pointer": "/url", "message": "too long"}, {"pointer": "/a/0", "message": "no\x1b[2J number"}]
        ended = self._get(refusal(422, "schema_violation", "It does not fit.", details=details))
        self.assertEqual(lines(ended.err)[1:], ["  /url: too long", "  /a/0: no\\x1b[2J number"])

        ended = self._get(refusal(422, "schema_violation", "It does not fit: /url: too long.", details=details))
        self.assertEqual(lines(ended.err)[1:], ["  /a/0: no\\x1b[2J number"])

    def test_credentials(self):
        """Which were tried is said, and never what they are."""
        self.cli.environ["ADMIN_PASSWORD"] = "hunter2"
        ended = self._get(refusal(401, "unauthenticated"))
        self.assertEqual(ended.status, Exit.DENIED)
        self.assertIn("ADMIN_PASSWORD", ended.err)
        self.assertNotIn("hunter2", ended.err)

    def test_strangers(self):
        """Redirects and what is no confd controller."""
        ended = self._get(Reply(302, {"location": "http://evil\x1b/"}, b""))
        self.assertEqual(ended.status, Exit.FAILED)
        self.assertIn("http://evil\\x1b/", ended.err)
        for reply in (
            Reply(404, {}, b"<html>"),
            answer(["?"], 404),
            answer({"error": 1, "code": 2, "details": 3}, 404),
        ):
            ended = self._get(reply)
            self.assertEqual(ended.status, Exit.NOT_FOUND)
            self.assertIn("not like a confd controller", ended.err)
        self.assertEqual(self._get(Reply(200, {}, b"<html>")).status, Exit.FAILED)

    def test_unknown_shape(self):
        """JSON, and not what we know: no traceback, and where to look."""
        for reply in (answer([]), answer({"version": 1}), answer(None)):
            ended = self._get(reply)
            self.assertEqual(ended.status, Exit.FAILED)
            self.assertIn("confdctl doctor", ended.err)

    def test_no_answer(self):
        """Nobody there."""
        ended = self._get(Unreached("No controller answers at x."))
        self.assertEqual((ended.status, ended.err), (Exit.UNREACHABLE, "confdctl: No controller answers at x.\n"))


class PasswordTests(SynchronousTestCase):
    """Somebody who can be asked is asked; once, and only where nothing was set."""

    def setUp(self):
        self.cli = CliHarness()

    def _sent(self):
        return [each.headers["Authorization"] for each in self.cli.controller.asked]

    def test_prompt(self):
        """For a controller that is elsewhere; what is typed is not shown."""
        self.cli.controller.table[CONFIG] = current_config({"url": "x"})
        ended = self.cli.type("--url", "https://far", "get", "url", answers="hunter2\n")
        self.assertEqual((ended.status, ended.out), (0, "x\n"))
        self.assertNotIn("hunter2", ended.err)
        self.assertEqual(self._sent(), ["Basic YWRtaW46aHVudGVyMg=="])

    def test_nobody_there(self):
        """Nothing is sent, and it is said what to do."""
        ended = self.cli.type("--url", "https://far", "get")
        self.assertEqual(ended.status, Exit.DENIED)
        self.assertIn("--password-file", ended.err)
        self.assertEqual(self.cli.controller.asked, [])

    def test_built_in(self):
        """Where the built-in password is not it, somebody is asked; a second refusal is one."""
        self.cli.controller.table[CONFIG] = [refusal(401, "unauthenticated"), current_config({"url": "x"})]
        self.assertEqual(self.cli.type("get", answers="hunter2\n").status, 0)
        self.assertEqual(len(set(self._sent())), 2)
        self.cli.controller.table[CONFIG] = [refusal(401, "unauthenticated")] * 2
        ended = self.cli.type("get", answers="wrong\n")
        self.assertEqual(ended.status, Exit.DENIED)
        self.assertIn("the typed password", ended.err)

    def test_not_instead(self):
        """What was set and is wrong is said to be wrong."""
        self.cli.environ["ADMIN_PASSWORD"] = "wrong"
        self.cli.controller.table[CONFIG] = [refusal(401, "unauthenticated")]
        self.assertEqual(self.cli.type("get", answers="hunter2\n").status, Exit.DENIED)
        self.assertEqual(len(self.cli.controller.asked), 1)


class FailureTests(SynchronousTestCase):
    """The table of statuses."""

    def test_distinct(self):
        """A script can tell them apart, and each has a meaning."""
        self.assertEqual(len({each.value for each in Exit}), len(Exit.__members__))
        self.assertTrue(all(each.meaning for each in Exit))
        self.assertEqual(CommandError(Exit.DENIED, "No.").details, ())
