"""Tests of C{doctor}: each problem is found, with a remedy."""

import json
from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

import confd
from confd.cli.errors import Exit
from confd.cli.transport import Unreached
from tests.cli.harness import NOW, CliHarness, Reply, answer, convergence, current_config, refusal, rollout

DATE = "Tue, 24 Nov 2026 12:00:01 GMT"


class DoctorTests(SynchronousTestCase):
    """A healthy controller, and each problem that it can have."""

    def setUp(self):
        self.cli = CliHarness()
        self.table = self.cli.controller.table
        self.cluster = {"cluster_id": "c", "epoch": 1, "ahead": {"agents": 0, "epoch": 0}, "foreign": []}
        self.table |= {
            "GET /health": answer({"status": "ok"}, date=DATE),
            "GET /metrics": Reply(200, {}, f'confd_build_info{{version="{confd.__version__}"}} 1.0\n'.encode()),
            "GET /ready": answer({"status": "ready", "REDIS": "connected"}),
            "GET /api/v1/config": current_config({}),
            "GET /api/v1/namespaces": answer([]),
            "GET /api/v1/cluster": lambda _: answer(self.cluster),
            "GET /api/v1/rollouts": answer({"items": []}),
            "GET /api/v1/config/convergence": answer(convergence(applied=3)),
        }

    def findings(self, *words, status=Exit.UNSOUND):
        """Return the findings by check and state."""
        ended = self.cli.type(*words, "doctor", "-o", "json")
        self.assertEqual(ended.status, status, ended.err)
        found = json.loads(ended.out)
        self.assertTrue(all(each["state"] == "ok" or each["remedy"] for each in found), found)
        return {(each["check"], each["state"]): f"{each['found']} {each['remedy']}" for each in found}

    def test_healthy_controller_needs_no_remedy(self):
        found = self.findings(status=0)
        self.assertEqual({state for _, state in found}, {"ok"})
        self.assertEqual(len(found), 9)
        self.assertIn("REDIS connected", found["ready", "ok"])
        self.assertIn("(the default)", found["settings", "ok"])

    def test_webhooks_are_tested_if_asked(self):
        results = [
            {"number": 1, "host": "a.test", "error": "", "waiting": 0},
            {"number": 2, "host": "b.test", "error": "WEBHOOK_URLS: b.test (number 2) answers 500.", "waiting": 3},
        ]
        self.table["POST /api/v1/webhooks/ping"] = lambda _: answer({"items": results})
        ended = self.cli.type("doctor", "--webhooks", "-o", "json")
        self.assertEqual(ended.status, Exit.UNSOUND)
        first, second = json.loads(ended.out)[-2:]
        self.assertEqual(
            (first["check"], first["state"], first["found"]), ("webhook 1", "ok", "a.test took the test event")
        )
        self.assertEqual((second["check"], second["state"]), ("webhook 2", "fail"))
        self.assertIn("answers 500; 3 events waiting", second["found"])
        results.clear()
        ended = self.cli.type("doctor", "--webhooks", "-o", "json")
        self.assertEqual((ended.status, json.loads(ended.out)[-1]["state"]), (0, "warn"))

    def test_paused_rollout_waits_for_a_person(self):
        for state, found in (("running", "ok"), ("paused", "warn"), ("aborted", "ok")):
            self.table["GET /api/v1/rollouts"] = answer({"items": [rollout(state)]})
            self.assertIn(("rollout", found), self.findings(status=0))

    def test_unreachable_controller_ends_the_checks(self):
        self.table["GET /health"] = Unreached("No controller answers at x; start it.")
        found = self.findings()
        self.assertIn("start it", found["controller", "fail"])
        self.assertEqual(len(found), 2)

    def test_another_server_at_the_address_is_named(self):
        self.table["GET /health"] = Reply(404, {}, b"")
        self.assertIn(("controller", "fail"), self.findings())

    def test_wrong_settings_and_an_unencrypted_password_are_named(self):
        self.assertIn(("settings", "fail"), self.findings("--profile", "none"))
        self.cli.environ["ADMIN_PASSWORD"] = "x"
        self.assertIn("https://", self.findings("--url", "http://far", status=0)["settings", "warn"])

    def test_wrong_credentials_and_those_of_an_agent_are_named(self):
        for code in (401, 403):
            self.table["GET /api/v1/namespaces"] = refusal(code, "no")
            self.assertIn(("credentials", "fail"), self.findings())

    def test_clock_ahead_behind_or_unknown_is_a_warning(self):
        for date, words in (
            ("Tue, 24 Nov 2026 11:59:00 GMT", "60 s ahead"),
            ("Tue, 24 Nov 2026 12:01:00 GMT", "60 s behind"),
            ("", "no Date header"),
            ("rubbish", "no Date header"),
        ):
            self.table["GET /health"] = answer({}, date=date)
            self.assertIn(words, self.findings(status=0)["clock", "warn"])

    def test_certificate_below_thirty_days_is_a_warning(self):
        self.assertNotIn("certificate", {check for check, _ in self.findings(status=0)})
        for left, state, words in (
            (timedelta(days=31), "ok", "in 31 days, at 2026-12-25T12:00:00Z"),
            (timedelta(days=30), "warn", "in 30 days"),
            (timedelta(days=1, hours=2), "warn", "in 1 day, at"),
            (timedelta(minutes=10), "warn", "in less than a day, at 2026-11-24T12:10:00Z"),
        ):
            with self.subTest(left=left):
                self.cli.controller.expiry = NOW + left
                self.assertIn(words, self.findings(status=0)["certificate", state])

    def test_another_or_unknown_release_is_a_warning(self):
        for body in (b'confd_build_info{version="0.0.9"} 1.0\n', b""):
            self.table["GET /metrics"] = Reply(200, {}, body)
            self.assertIn(confd.__version__, self.findings(status=0)["release", "warn"])

    def test_faults_of_a_database_server_are_warnings(self):
        body = {"status": "ready", "database": "PostgreSQL 15.20", "database_fsync": "fsync is off; set fsync to on"}
        self.table["GET /ready"] = answer(body)
        found = self.findings(status=Exit.OK)
        self.assertEqual(found["database", "warn"], "fsync is off Set fsync to on.")
        self.assertEqual(found["ready", "ok"], "store and brokers work: database PostgreSQL 15.20 ")

    def test_each_part_that_is_not_ready_is_named(self):
        details = [{"part": "store", "message": "The disk is full."}, {"part": "REDIS", "message": "It is down."}]
        self.table["GET /ready"] = refusal(503, "not_ready", "x", details=details)
        self.assertIn(("ready", "fail"), self.findings())
        out = self.cli.type("doctor").out
        self.assertIn("The disk is full.", out)
        self.assertIn("It is down.", out)
        self.table["GET /ready"] = Reply(503, {}, b"<html>")
        self.assertIn(("ready", "fail"), self.findings())

    def test_missing_namespace_is_named(self):
        self.table["GET /api/v1/config"] = refusal(404, "unknown_namespace", "There is no namespace x.")
        self.assertIn("no namespace x", self.findings()["namespace", "fail"])

    def test_agents_that_do_not_follow_or_are_behind_are_counted(self):
        self.cluster |= {"ahead": {"agents": 2, "epoch": 3}}
        self.assertIn("epoch raise", self.findings()["cluster", "fail"])
        self.cluster |= {"ahead": {"agents": 0}, "foreign": [{"cluster_id": "f-1", "agents": 4, "epoch": 7}]}
        self.assertIn("cluster adopt f-1", self.findings()["cluster", "fail"])
        self.cluster |= {"foreign": []}
        self.table["GET /api/v1/config/convergence"] = answer(convergence(applied=3, silent=1))
        self.assertIn("confdctl status", self.findings(status=0)["agents", "warn"])

    def test_controllers_of_the_database_are_counted(self):
        self.cluster["controllers"] = [
            {"address": "web1, tcp:8080", "release": "2.0", "state": "running"},
            {"address": "web2, tcp:8080", "release": "2.1", "state": "lost"},
        ]
        found = self.findings(status=0)
        self.assertIn("1 controller on the database, of release 2.0 and 2.1", found["controllers", "ok"])
        self.assertIn("web2", found["controllers", "warn"])

    def test_poll_interval_is_compared_with_the_herd_budget(self):
        self.table["GET /api/v1/namespaces"] = answer([{"live_agents": 4000}, {"live_agents": 2001}])
        for requests, state, least in ((0, None, 0), (200, "warn", 31), (201, "ok", 30), (10**6, "ok", 1)):
            self.cluster["herd"] = {"requests": requests, "bytes": 0}
            found = self.findings(status=0)
            self.assertEqual([each for check, each in found if check == "herd"], [state] if state else [])
            if state:
                self.assertIn(f"need {least} s at least", found["herd", state])
        self.cluster["herd"] = {"requests": 200, "bytes": 0}
        self.assertIn("--poll-interval 31", self.findings(status=0)["herd", "warn"])
