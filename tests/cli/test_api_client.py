"""Tests of L{confd.cli.api_client}: each refusal ends in an exit status and a sentence."""

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import CommandError, Exit
from confd.cli.transport import Reply, Unreached
from tests.cli.harness import CliHarness, answer, current_config, lines, refusal

CONFIG = "GET /api/v1/config"


def busy(status, seconds, **more):
    """Return a refusal with C{Retry-After}."""
    return Reply(status, {"retry-after": str(seconds), **more}, refusal(status, "busy", "It is busy.").body)


class RetryTests(SynchronousTestCase):
    """Requests after an answer 429 or 503 with C{Retry-After}."""

    def setUp(self):
        self.cli = CliHarness()

    def test_request_is_repeated_after_the_requested_time_with_jitter(self):
        for status in (429, 503):
            self.cli.controller.table[CONFIG] = [busy(status, 4), busy(status, 2), current_config({"url": "http://x"})]
            self.cli.slept.clear()
            ended = self.cli.type("-o", "json", "get")
            self.assertEqual((ended.status, ended.out), (Exit.OK, '{\n  "url": "http://x"\n}\n'), ended.err)
            first, second = self.cli.slept
            self.assertTrue(4 <= first <= 5 and 2 <= second <= 2.5, self.cli.slept)
            self.assertEqual(ended.err.count("It is busy. Retrying in "), 2)

    def test_retry_date_counts_from_the_clock_of_the_controller(self):
        dates = {"retry-after": "Sun, 29 Nov 2026 08:00:07 GMT", "date": "Sun, 29 Nov 2026 08:00:00 GMT"}
        self.cli.controller.table[CONFIG] = [busy(503, "", **dates), current_config({})]
        self.assertEqual(self.cli.type("get").status, Exit.OK)
        (slept,) = self.cli.slept
        self.assertTrue(7 <= slept <= 8.75, slept)

    def test_retries_are_bounded_in_number_and_time(self):
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

    def test_malformed_or_unexpected_retry_after_is_ignored(self):
        for reply in (busy(503, "soon"), busy(503, -1), busy(500, 1), busy(404, 1)):
            self.cli = CliHarness()
            self.cli.controller.table[CONFIG] = reply
            self.assertNotEqual(self.cli.type("get").status, Exit.OK)
            self.assertEqual((len(self.cli.controller.asked), self.cli.slept), (1, []))

    def test_change_is_repeated_only_where_it_cannot_happen_twice(self):
        where = "DELETE /api/v1/namespaces/blue"
        self.cli.controller.table["GET /api/v1/namespaces"] = answer([{"name": "blue", "version": 1, "agents": 0}])
        self.cli.controller.table[where] = busy(503, 1)
        self.assertEqual(self.cli.type("namespaces", "retire", "blue", "-y").status, Exit.UNREACHABLE)
        self.assertEqual(len(self.cli.controller.requests("DELETE", "/api/v1/namespaces/blue")), 1)
        self.cli.controller.table[where] = busy(429, 1)
        self.assertEqual(self.cli.type("namespaces", "retire", "blue", "-y").status, Exit.UNREACHABLE)
        self.assertEqual(len(self.cli.controller.requests("DELETE", "/api/v1/namespaces/blue")), 4)


class RefusalTests(SynchronousTestCase):
    """Error sentences and exit statuses."""

    def setUp(self):
        self.cli = CliHarness()

    def _get(self, reply, *options, **how):
        self.cli.controller.table[CONFIG] = reply
        ended = self.cli.type(*options, "get", **how)
        self.assertEqual(ended.out, "")
        self.assertNotIn("Traceback", ended.err)
        return ended

    def test_each_http_status_has_an_exit_status_and_a_sentence(self):
        for status, wanted in (
            (400, Exit.USAGE), (403, Exit.DENIED), (404, Exit.NOT_FOUND), (410, Exit.NOT_FOUND), (409, Exit.CONFLICT),
            (412, Exit.CONFLICT), (413, Exit.INVALID), (422, Exit.INVALID), (429, Exit.UNREACHABLE), (418, Exit.FAILED),
            (500, Exit.FAILED), (503, Exit.UNREACHABLE),
        ):  # fmt: skip
            with self.subTest(status=status):
                ended = self._get(refusal(status, "some_code", "This is so, do that."))
                self.assertEqual(ended.status, wanted)
                self.assertTrue(ended.err.startswith("confdctl: This is so, do that."), ended.err)

    def test_each_violation_has_a_line_with_its_pointer(self):
        details = [{"pointer": "/url", "message": "too long"}, {"pointer": "/a/0", "message": "no\x1b[2J number"}]
        ended = self._get(refusal(422, "schema_violation", "It does not fit.", details=details))
        self.assertEqual(lines(ended.err)[1:], ["  /url: too long", "  /a/0: no\\x1b[2J number"])

        ended = self._get(refusal(422, "schema_violation", "It does not fit: /url: too long.", details=details))
        self.assertEqual(lines(ended.err)[1:], ["  /a/0: no\\x1b[2J number"])

    def test_refused_credentials_are_named_by_their_origin(self):
        self.cli.environ["ADMIN_PASSWORD"] = "hunter2"
        ended = self._get(refusal(401, "unauthenticated"))
        self.assertEqual(ended.status, Exit.DENIED)
        self.assertIn("ADMIN_PASSWORD", ended.err)
        self.assertNotIn("hunter2", ended.err)

    def test_redirects_and_other_servers_are_named(self):
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

    def test_unknown_json_is_reported_without_a_traceback(self):
        for reply in (answer([]), answer({"version": 1}), answer(None)):
            ended = self._get(reply)
            self.assertEqual(ended.status, Exit.FAILED)
            self.assertIn("confdctl doctor", ended.err)

    def test_missing_answer_has_its_exit_status(self):
        ended = self._get(Unreached("No controller answers at x."))
        self.assertEqual((ended.status, ended.err), (Exit.UNREACHABLE, "confdctl: No controller answers at x.\n"))


class PasswordTests(SynchronousTestCase):
    """The question for a password that was not set."""

    def setUp(self):
        self.cli = CliHarness()

    def _sent(self):
        return [each.headers["Authorization"] for each in self.cli.controller.asked]

    def test_prompt_asks_for_the_password_of_a_remote_controller_without_echo(self):
        self.cli.controller.table[CONFIG] = current_config({"url": "x"})
        ended = self.cli.type("--url", "https://far", "get", "url", answers="hunter2\n")
        self.assertEqual((ended.status, ended.out), (0, "x\n"))
        self.assertNotIn("hunter2", ended.err)
        self.assertEqual(self._sent(), ["Basic YWRtaW46aHVudGVyMg=="])

    def test_nothing_is_sent_without_a_password(self):
        ended = self.cli.type("--url", "https://far", "get")
        self.assertEqual(ended.status, Exit.DENIED)
        self.assertIn("--password-file", ended.err)
        self.assertEqual(self.cli.controller.asked, [])

    def test_refused_builtin_password_is_asked_for_once(self):
        self.cli.controller.table[CONFIG] = [refusal(401, "unauthenticated"), current_config({"url": "x"})]
        self.assertEqual(self.cli.type("get", answers="hunter2\n").status, 0)
        self.assertEqual(len(set(self._sent())), 2)
        self.cli.controller.table[CONFIG] = [refusal(401, "unauthenticated")] * 2
        ended = self.cli.type("get", answers="wrong\n")
        self.assertEqual(ended.status, Exit.DENIED)
        self.assertIn("the typed password", ended.err)

    def test_prompt_does_not_replace_a_wrong_password_that_was_set(self):
        self.cli.environ["ADMIN_PASSWORD"] = "wrong"
        self.cli.controller.table[CONFIG] = [refusal(401, "unauthenticated")]
        self.assertEqual(self.cli.type("get", answers="hunter2\n").status, Exit.DENIED)
        self.assertEqual(len(self.cli.controller.asked), 1)


class ExitTests(SynchronousTestCase):
    """L{Exit}."""

    def test_exit_statuses_are_distinct_and_explained(self):
        self.assertEqual(len({each.value for each in Exit}), len(Exit.__members__))
        self.assertTrue(all(each.meaning for each in Exit))
        self.assertEqual(CommandError(Exit.DENIED, "No.").details, ())
