"""
The metrics of real processes after a small day's work: valid, and with all metrics that F{deploy/} names.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.budgets import budget
from tests.integration.fleet import ADMIN, AGENT, base_of, eventually, free_port, request
from tests.integration.test_end_to_end import FleetTestCase
from tests.promlint import lint
from tests.runtime.test_metrics import samples
from tests.test_deploy import queries, rules, unknown
from tests.test_documents import reference

PROMTOOL = shutil.which("promtool")


#: The address that the agent names.
ADVERTISED = "web-1.example:8081"


class MetricsTests(FleetTestCase):
    """The metrics of the three roles."""

    def shown(self, ready: Callable[[dict[str, Any]], bool]) -> dict[str, bytes]:
        """Return the metrics of each role once a condition holds."""

        def look() -> dict[str, bytes] | None:
            found = {each.name: request("GET", f"{base_of(each)}/metrics").body for each in self.fleet.processes}
            return found if ready({name: samples(text) for name, text in found.items()}) else None

        shown: dict[str, bytes] = eventually(look)
        return shown

    def work(self) -> dict[str, bytes]:
        """Publish, apply, fetch and be refused; return the metrics afterwards."""
        # A controller without its broker is not ready, and has metrics nevertheless.
        self.controller.arguments += ["--distribution-strategy", "REDIS"]
        self.controller.arguments += ["--redis-address", f"127.0.0.1:{free_port()}"]
        self.controller.health = f"{self.fleet.url}/health"
        self.fleet.processes.remove(self.agent)
        self.agent = self.fleet.agent(self.worker, "agent", "--distribution-strategy", "STREAM", ops=True)
        self.agent.arguments += ["--agent-advertise", ADVERTISED]
        for process in (self.controller, self.worker, self.agent):
            process.start()
        eventually(lambda: request("GET", f"{self.fleet.url}/api/v1/agents", auth=ADMIN).json())
        self.publish("one")
        self.arrives("one")
        for path in ("/api/v1/config", "/nowhere", "/api/v1/agents/nobody", "/%00"):
            request("GET", f"{self.fleet.url}{path}", auth=AGENT)
        return self.shown(
            lambda found: (
                found["controller"].get(("confd_propagation_seconds_count", (("namespace", "default"),)), 0) > 0
                and found["agent"][("confd_push_up", (("strategy", "STREAM"),))] == 1
            )
        )

    def test_shown(self) -> None:
        """The metrics are valid, count the work, and contain all names of F{deploy/}."""
        shown = self.work()
        self._by_the_book(shown)
        self._what_was_done({role: samples(text) for role, text in shown.items()})
        self._what_deploy_names(shown)
        self._what_prometheus_finds()

    def _what_prometheus_finds(self) -> None:
        """Check that a real Prometheus reads the list of the agents."""
        url = f"{self.fleet.url}/api/v1/prometheus/agents"
        [group] = request("GET", url, auth=ADMIN).json()
        self.assertEqual(group["targets"], [ADVERTISED])
        if PROMTOOL is None or budget(True, False):
            return
        login = {"username": ADMIN[0], "password": ADMIN[1]}
        job = {"job_name": "confd-agent", "http_sd_configs": [{"url": url, "basic_auth": login}]}
        (self.fleet.folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}))
        command = [PROMTOOL, "check", "service-discovery", "--timeout=1s", "prometheus.yml", "confd-agent"]
        done = subprocess.run(command, cwd=self.fleet.folder, capture_output=True, check=True)
        [found] = json.loads(done.stdout)
        discovered = found["discoveredLabels"]
        self.assertEqual((discovered["__address__"], discovered["__meta_confd_strategy"]), (ADVERTISED, "STREAM"))

    def _by_the_book(self, shown: dict[str, bytes]) -> None:
        """Check the metrics of each role, also with promtool if it is installed."""
        for role, text in shown.items():
            with self.subTest(role=role):
                self.assertEqual(lint(text), [])
                self.assertTrue(any(name.startswith("confd_reactor_lag") for name, _ in samples(text)))
                if PROMTOOL is not None:
                    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False)
                    self.assertEqual((done.returncode, done.stdout + done.stderr), (0, b""))

    def _what_was_done(self, shown: dict[str, Any]) -> None:
        """Check the counts of the work under their labels."""
        default = ("namespace", "default")
        for role, name, labels, value in (
            ("controller", "confd_config_version", (default,), 2),
            ("controller", "confd_publishes_total", (default,), 1),
            ("controller", "confd_agents", (default, ("state", "applied")), 1),
            ("controller", "confd_agents", (default, ("state", "silent")), 0),
            ("controller", "confd_agents_current", (default,), 1),
            ("controller", "confd_convergence_seconds_count", (default,), 1),
            ("controller", "confd_stream_readers", (), 1),
            ("controller", "confd_ready", (("part", "store"),), 1),
            ("controller", "confd_ready", (("part", "REDIS"),), 0),
            ("controller", "confd_broker_up", (("broker", "REDIS"),), 0),
            ("controller", "confd_unpublished_namespaces", (("broker", "REDIS"),), 1),
            ("worker", "confd_worker_config_version", (), 2),
            ("agent", "confd_applied_version", (), 2),
            ("agent", "confd_push_connections_total", (("strategy", "STREAM"),), 1),
        ):
            with self.subTest(name=name, labels=labels):
                self.assertEqual(shown[role][name, labels], value)
        routes = {dict(labels).get("route") for name, labels in shown["controller"] if name.startswith("confd_http")}
        self.assertIn("/api/v1/agents/<agent_id>", routes)
        self.assertIn("unmatched", routes)
        self.assertFalse({"/nowhere", "/api/v1/agents/nobody"} & routes)
        self.assertGreater(shown["worker"]["confd_hits_total", (("result", "2xx"),)], 0)
        self.assertGreater(shown["agent"]["confd_deliveries_total", (("result", "applied"),)], 0)

    def _what_deploy_names(self, shown: dict[str, bytes]) -> None:
        """Check that a role has each metric of the rules and the dashboard, with the labels that they use."""
        known: dict[str, set[str]] = {"up": set()}
        for text in (*shown.values(), reference().postgres_metrics()):
            for family in text_string_to_metric_families(text.decode()):
                for name in (family.name, *(sample.name for sample in family.samples)):
                    labels = {label for sample in family.samples for label in sample.labels}
                    if not family.samples:
                        labels = set(reference().labels_of(name))
                    known.setdefault(name, set()).update(labels)
        for where, expression in (*rules(), *queries()):
            with self.subTest(where=where):
                self.assertEqual(list(unknown(expression, known)), [])
