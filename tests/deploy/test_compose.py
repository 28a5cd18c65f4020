"""The container files: confined, without secrets of their own, and naming only what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from confd.runtime.setting import settings_of
from confd.runtime.settings import all_roles

ROOT = Path(__file__).resolve().parents[2]

PROFILES = {"poller", "redis", "nats", "stream", "ha"}

#: Every setting of every role, and what the image itself reads.
KNOWN = {name for role in all_roles() for each in settings_of(role) for name in (each.name, each.file_name)} | {
    "READY_URL"
}

#: What the images of other programs read.
OTHERS = {"POSTGRES_PASSWORD"}


def services(name: str) -> dict[str, Any]:
    """The services of a compose file."""
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())["services"]
    return found


class ComposeTests(SynchronousTestCase):
    """C{docker-compose.yml} and C{docker-compose.edge.yml}."""

    def each(self) -> list[tuple[str, dict[str, Any]]]:
        """All services of both."""
        files = ("docker-compose.yml", "docker-compose.edge.yml")
        return [service for file in files for service in services(file).items()]

    def test_confined(self) -> None:
        for name, service in self.each():
            self.assertEqual((service["read_only"], service["cap_drop"]), (True, ["ALL"]), name)
            self.assertIn("no-new-privileges:true", service["security_opt"], name)
            for limit in ("pids_limit", "mem_limit", "cpus", "restart"):
                self.assertIn(limit, service, name)
            self.assertNotIn("privileged", service, name)

    def test_only_loopback_is_open(self) -> None:
        """And of that only the controller, and the balancer or the worker of another host."""
        opened = {name: service["ports"] for name, service in self.each() if "ports" in service}
        for name, ports in opened.items():
            self.assertTrue(name.startswith("controller") or name in ("balancer", "worker"), name)
            self.assertTrue(all(port.startswith("127.0.0.1:") for port in ports), ports)

    def test_settings_exist(self) -> None:
        for name, service in self.each():
            self.assertEqual(set(service.get("environment", {})) - KNOWN - OTHERS, set(), name)

    def test_no_password_is_given(self) -> None:
        """Each comes from outside, and without it nothing starts."""
        for name, service in self.each():
            for variable, value in service.get("environment", {}).items():
                if variable.endswith("PASSWORD"):
                    self.assertRegex(value, r"^\$\{\w+:\?[^}]+\}$", f"{name}: {variable}")
        asked = set(re.findall(r"\$\{(\w+PASSWORD):\?", (ROOT / "docker-compose.yml").read_text()))
        example = (ROOT / ".env.example").read_text()
        self.assertEqual(set(re.findall(r"^(\w+)=$", example, re.M)), asked)

    def test_profiles(self) -> None:
        """Each has a controller, C{ha} two, three workers and their agents; a broker where its strategy has one."""
        found = services("docker-compose.yml")
        for profile in PROFILES:
            mine = {name for name, service in found.items() if profile in service["profiles"]}
            pairs = {f"{profile}-{role}-{number}" for role in ("agent", "worker") for number in (1, 2, 3)}
            broker = {profile} & {"redis", "nats"}
            controllers = {f"controller-{profile}"}
            if profile == "ha":
                controllers = {"controller-ha-1", "controller-ha-2", "controller-balancer", "postgres"}
            self.assertEqual(mine, pairs | broker | controllers | {"balancer"})
            for number in (1, 2, 3):
                agent = found[f"{profile}-agent-{number}"]
                self.assertEqual(agent["network_mode"], f"service:{profile}-worker-{number}")
                strategy = agent["environment"].get("DISTRIBUTION_STRATEGY")
                self.assertEqual(strategy, "STREAM" if profile == "ha" else profile.upper())

    def test_image(self) -> None:
        """It runs as nobody of importance, and checks itself by C{/ready}."""
        text = (ROOT / "Dockerfile").read_text()
        self.assertRegex(text, r"\nUSER 10001:10001\n")
        self.assertIn("\nHEALTHCHECK ", text)
        self.assertIn("/ready", text)
        self.assertNotRegex(text, r"(?i)password|secret|token")
