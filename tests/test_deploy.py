"""The files for Prometheus and Grafana under F{deploy/}; whether what they name exists, real processes have to tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
ALERTS, DASHBOARD = DEPLOY / "prometheus/alerts.yml", DEPLOY / "grafana/confd.json"

#: Labels that Prometheus itself adds.
_ADDED = {"job", "instance", "le"}

_SELECTOR = re.compile(r"\b((?:confd|process)_[a-z0-9_]+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"([a-z_]+)(=~|!~|!=|=)\"([^\"]*)\"")
_GROUPED = re.compile(r"\b(?:by|without) \(([^)]*)\)")


class DeployTests(SynchronousTestCase):
    """What can be said of the files by themselves."""

    def test_alerts(self) -> None:
        """Each says what happens, what that means, and what to do."""
        found = list(alerts())
        self.assertGreater(len(found), 10)
        self.assertEqual(len({rule["alert"] for rule in found}), len(found))
        for rule in found:
            with self.subTest(alert=rule["alert"]):
                self.assertRegex(rule["alert"], "^Confd[A-Za-z]+$")
                self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
                self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook"})
                for words in rule["annotations"].values():
                    self.assertRegex(words, r"^(?s:[A-Z{].{15,}\.)$")

    def test_dashboard(self) -> None:
        """Each panel has a title, a description and a unit, and none covers another."""
        taken: set[tuple[int, int]] = set()
        for panel in panels():
            with self.subTest(title=panel["title"]):
                self.assertTrue(panel["title"])
                self.assertTrue(panel["description"].endswith("."))
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                place = panel["gridPos"]
                cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
                self.assertFalse(cells & taken)
                self.assertLessEqual(place["x"] + place["w"], 24)
                taken |= cells
        self.assertEqual(len({panel["id"] for panel in panels()}), len(panels()))

    def test_rules_file_is_named(self) -> None:
        """The example for Prometheus has the rules, and the jobs that they go by."""
        example = yaml.safe_load((ALERTS.parent / "prometheus.yml").read_text("utf-8"))
        self.assertEqual(example["rule_files"], [ALERTS.name])
        jobs = {each["job_name"] for each in example["scrape_configs"]}
        for where, expression in (*rules(), *queries()):
            named = set(re.findall(r'job="([^"]*)"', expression))
            self.assertLessEqual(named, jobs, where)

    def test_by_prometheus(self) -> None:
        """As Prometheus reads them."""
        promtool = shutil.which("promtool")
        if promtool is None:
            self.skipTest("promtool is not installed (apt-get install prometheus)")
        done = subprocess.run(
            [promtool, "check", "config", str(ALERTS.parent / "prometheus.yml")], capture_output=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_unknown(self) -> None:
        """It is seen what is not there."""
        known = {"confd_a": {"x", "y"}, "up": set()}
        for expression, wrong in (
            ('sum by (x, le) (rate(confd_a{y="1"}[5m]))', []),
            ("confd_b + up", ["confd_b"]),
            ('confd_a{z=~"1"}', ["confd_a: z"]),
            ("sum by (z) (confd_a)", ["z"]),
        ):
            with self.subTest(expression=expression):
                self.assertEqual(list(unknown(expression, known)), wrong)


def alerts() -> Iterator[dict[str, Any]]:
    """All alerts."""
    for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]:
        yield from group["rules"]


def rules() -> Iterator[tuple[str, str]]:
    """Their expressions, by name."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard, but for the rows."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """The expressions of all panels, variables and annotations."""
    for panel in panels():
        for query in panel["targets"]:
            yield panel["title"], query["expr"]
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def unknown(expression: str, known: dict[str, set[str]]) -> Iterator[str]:
    """The metrics in an expression that nobody shows, and the labels that none of its metrics has."""
    there = set(_ADDED)
    for name, selector in _SELECTOR.findall(expression):
        if name not in known:
            yield name
            continue
        there |= known[name]
        for label, _, _ in _MATCHER.findall(selector):
            if label not in known[name] | _ADDED:
                yield f"{name}: {label}"
    for group in _GROUPED.findall(expression):
        yield from sorted({label.strip() for label in group.split(",")} - there)
