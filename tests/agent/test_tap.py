"""Tests of L{confd.agent.tap}: the agent as twistd builds it."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.composition import compose
from confd.agent.lifecycle import Agent
from confd.agent.tap import Options
from confd.errors import StartError
from confd.runtime.options import read
from confd.runtime.settings import AgentSettings
from tests.agent.fakes import configuration
from tests.conversation import Conversation
from tests.promlint import lint
from tests.runtime.test_metrics import samples


class Reactor(MemoryReactorClock):
    """A reactor without threads."""

    def getThreadPool(self) -> None:
        """Return no pool, because nothing starts."""


class ComposeTests(SynchronousTestCase):
    """L{compose}."""

    def setUp(self) -> None:
        self.reactor: Any = Reactor()

    def compose(self, **given: str) -> list[Any]:
        """Return the services for some settings."""
        return list(compose(self.reactor, read(AgentSettings, given, {}), {}).services)

    def test_default_settings_make_one_service(self) -> None:
        (agent,) = self.compose()
        self.assertIsInstance(agent, Agent)

    def test_nothing_is_opened_or_scheduled(self) -> None:
        self.compose(AGENT_LISTEN="tcp:0:interface=127.0.0.1", AGENT_API_LISTEN="tcp:0:interface=127.0.0.1")
        self.assertEqual((self.reactor.tcpServers, self.reactor.getDelayedCalls()), ([], []))

    def test_mistakes_name_the_setting(self) -> None:
        for name, text in (
            ("CONTROLLER_CA_FILE", "/no/such/file.pem"),
            ("DISTRIBUTION_STRATEGY", "PIGEON"),
            ("AGENT_LISTEN", "nonsense:1"),
            ("AGENT_API_LISTEN", "nonsense:1"),
        ):
            error = self.assertRaises(StartError, self.compose, **{name: text})
            self.assertTrue(error.reasons[0].startswith(f"{name}: "), error.reasons)

    def test_a_missing_folder_for_the_cache_is_refused(self) -> None:
        (agent,) = self.compose(CACHE_FILE="/no/such/folder/cache")
        error = self.assertRaises(StartError, agent.startService)
        self.assertTrue(error.reasons[0].startswith("CACHE_FILE: "), error.reasons)

    def test_the_options_are_the_settings(self) -> None:
        options = Options({})
        options.parseOptions(["--cache-file", "elsewhere", "--namespace", "edge"])
        self.assertEqual((options.settings.cache_file, options.settings.namespace), ("elsewhere", "edge"))


class OpsTests(SynchronousTestCase):
    """The port of AGENT_LISTEN."""

    def setUp(self) -> None:
        self.reactor: Any = Reactor()
        settings = read(AgentSettings, {"AGENT_LISTEN": "tcp:0:interface=127.0.0.1"}, {})
        self.composed = compose(self.reactor, settings, {})
        *_, self.listener = self.composed.services

    def get(self, path: str) -> Any:
        """Return the answer to a GET request."""
        return Conversation(self.listener.factory, self.reactor).get(path)

    def test_health_answers_ok(self) -> None:
        self.assertEqual(self.get("/health").json, {"status": "ok"})

    def test_not_ready_before_anything_is_applied(self) -> None:
        reply = self.get("/ready")
        self.assertEqual((reply.status, reply.code), (503, "not_ready"))
        self.assertEqual(reply.json["error"], "No configuration has been applied yet.")
        self.assertEqual([each["part"] for each in reply.json["details"]], ["configuration"])

    def test_metrics_show_the_push_path_and_hints(self) -> None:
        """The version is left out before the first configuration."""
        found = samples(self.get("/metrics").body)
        self.assertEqual(found["confd_push_up", (("strategy", "POLLER"),)], 0)
        self.assertEqual(found["confd_unverified_announcements_total", ()], 0)
        self.assertNotIn(("confd_known_version", ()), found)

    def test_metrics_pass_the_linter(self) -> None:
        self.get("/nowhere")
        text = self.get("/metrics").body
        self.assertEqual(lint(text), [])
        found = samples(text)
        self.assertEqual(found["confd_ready", (("part", "configuration"),)], 0)
        for name, results in (
            ("confd_polls_total", {"failed", "unchanged", "changed", "objected"}),
            ("confd_deliveries_total", {"applied", "refused", "failed"}),
            ("confd_agent_reports_total", {"sent", "repeated", "refused", "failed"}),
        ):
            self.assertEqual({dict(labels)["result"] for key, labels in found if key == name}, results)

    def test_a_hostile_body_is_refused_and_not_decoded(self) -> None:
        """No endpoint of this port reads a body."""
        for body in (b"[" + b"1," * 500_000 + b"1]", b"[" * 500_000):
            for path in ("/health", "/ready", "/metrics"):
                reply = Conversation(self.listener.factory, self.reactor).post(path, body=body)
                self.assertIn(reply.status, (405, 413), path)
                self.assertEqual(self.get("/health").status, 200)

    def test_applied_answers_503_before_the_first_configuration(self) -> None:
        reply = self.get("/applied")
        self.assertEqual((reply.status, reply.code), (503, "not_applied"))

    def test_applied_names_the_tag(self) -> None:
        self.composed.parts.worker_sync.applied = applied = configuration(3)
        self.assertEqual(self.get("/applied").json, {"version": str(applied.tag)})

    def test_other_paths_are_unknown(self) -> None:
        self.assertEqual(self.get("/config").status, 404)
