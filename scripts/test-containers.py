#!/usr/bin/env python3
"""
Run every profile of docker-compose.yml: publish, wait for three workers, recreate all containers, and look for losses.
The profile ha also loses each container of its controllers in turn, under publishes.

The script needs an engine: docker compose or podman-compose; COMPOSE names another command. It takes some minutes, and
starts and removes only containers named confd-test-... Arguments pick profiles.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proving import Failed, eventually, expect

ROOT = Path(__file__).resolve().parents[1]

PROFILES = ("poller", "redis", "nats", "stream", "ha")

#: The containers that the profile ha loses.
KILLED = ("controller-ha-1", "controller-ha-2", "controller-balancer", "postgres")

#: Seconds without a new version after which none follows.
SETTLED_SECONDS = 15.0


def compose_command() -> list[str]:
    """Return the command that runs compose files."""
    if os.environ.get("COMPOSE"):
        return os.environ["COMPOSE"].split()
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("podman-compose"):
        return ["podman-compose"]
    raise SystemExit("no engine: install docker with its compose plug-in, or podman-compose, or set COMPOSE")


def free_port() -> int:
    """Return a TCP port without a listener."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Stack:
    """The containers of a profile, with passwords, ports and volumes of their own."""

    def __init__(self, profile: str, folder: Path) -> None:
        self.profile = profile
        self.project = f"confd-test-{profile}"
        self.admin = secrets.token_urlsafe(18)
        self.controller, self.balancer = free_port(), free_port()
        self._file = folder / f"{profile}.env"
        values = {
            "ADMIN_PASSWORD": self.admin,
            "AGENT_PASSWORD": secrets.token_urlsafe(18),
            "REDIS_PASSWORD": secrets.token_urlsafe(18),
            "NATS_PASSWORD": secrets.token_urlsafe(18),
            "POSTGRES_PASSWORD": secrets.token_urlsafe(18),
            "CONTROLLER_PORT": self.controller,
            "BALANCER_PORT": self.balancer,
        }
        self._file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    def compose(self, *arguments: str) -> None:
        """
        Run compose.

        @raise Failed: with the end of its output.
        """
        command = [*compose_command(), "-p", self.project, "--env-file", str(self._file), "--profile", self.profile]
        # podman keeps the HEALTHCHECK of an image in this format only.
        environ = os.environ | {"BUILDAH_FORMAT": "docker"}
        done = subprocess.run([*command, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"compose {' '.join(arguments)}: {(done.stdout + done.stderr)[-2000:]}")

    def up(self, *arguments: str) -> None:
        """Start all containers, or restart the changed ones."""
        with pulse(self.project):
            self.compose("up", "--detach", *arguments)

    def ask(self, method: str, path: str, value: Any = None) -> Any:
        """Send a request to the controller as admin, and return the decoded answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.controller}{path}", method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"admin:{self.admin}".encode()).decode())
        body = None
        if value is not None:
            body = json.dumps(value).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, body, timeout=10) as response:
            return json.load(response)

    def through_balancer(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET from outside."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.balancer}{path}", timeout=10) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def publish(self, path: str) -> int:
        """Publish a URL of the controller itself; return the version."""
        version: int = self.ask("POST", "/api/v1/config", {"url": f"http://controller:8080{path}"})["version"]
        return version

    def kill(self, service: str) -> None:
        """Kill a container, and start it again."""
        self.compose("kill", "--signal", "KILL", service)
        self.compose("start", service)

    def applied(self, version: int) -> list[str]:
        """Return the ids of the agents that run C{version}, sorted."""
        agents = self.ask("GET", "/api/v1/agents?limit=500")
        return sorted(agent["id"] for agent in agents if agent["applied_version"] == version)


@contextlib.contextmanager
def pulse(project: str) -> Iterator[None]:
    """Run the health checks in this context, for podman without the timers of systemd."""
    if not shutil.which("podman") or Path("/run/systemd/system").is_dir():
        yield
        return
    over = threading.Event()

    def check() -> None:
        while not over.wait(1):
            listed = subprocess.run(
                ["podman", "ps", "--filter", f"name={project}", "--format", "{{.Names}}"],
                capture_output=True,
                text=True,
            )
            for name in listed.stdout.split():
                subprocess.run(["podman", "healthcheck", "run", name], capture_output=True)

    thread = threading.Thread(target=check)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Publisher(threading.Thread):
    """
    Publishes without end.

    @ivar acknowledged: the versions of the answers.
    @ivar failed: the number of requests without such an answer.
    """

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self._stack = stack
        self._end = threading.Event()
        self.acknowledged: list[int] = []
        self.failed = 0

    def run(self) -> None:
        while not self._end.wait(0.1):
            try:
                self.acknowledged.append(self._stack.publish(f"/health?n={len(self.acknowledged)}"))
            except OSError:
                self.failed += 1

    def stop(self) -> None:
        """End, and wait for the last answer."""
        self._end.set()
        self.join()


def settled(stack: Stack) -> int:
    """
    Return the newest version, once no publish without an answer is stored any more.

    A controller gives up a publish after 5 s, and its database may then still be busy.
    """
    newest, since = 0, time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        found: int = stack.ask("GET", "/api/v1/config")["version"]
        if found != newest:
            newest, since = found, time.monotonic()
        time.sleep(0.5)
    return newest


def lose_each(stack: Stack) -> None:
    """
    Kill each container of the controllers in turn, under publishes.

    @raise Failed: if a publish is lost, or none succeeds afterwards.
    """
    publisher = Publisher(stack)
    publisher.start()
    for service in KILLED:
        before = len(publisher.acknowledged)
        eventually("publishes succeed", lambda before=before: len(publisher.acknowledged) > before + 5)
        began, before = time.monotonic(), len(publisher.acknowledged)
        stack.kill(service)
        eventually(
            f"publishes succeed without {service}", lambda before=before: len(publisher.acknowledged) > before + 5
        )
        print(f"{stack.profile}: {service} killed, {time.monotonic() - began:.0f} s until more publishes", flush=True)
    publisher.stop()
    expect("repeated versions", len(set(publisher.acknowledged)), len(publisher.acknowledged))
    newest = settled(stack)
    expect("lost publishes", [each for each in publisher.acknowledged if each > newest], [])
    eventually("three agents run the newest", lambda: len(stack.applied(newest)) == 3)
    print(f"{stack.profile}: {len(publisher.acknowledged)} publishes, {publisher.failed} refused", flush=True)


def run(stack: Stack) -> None:
    """
    Start a stack, publish, recreate its containers, and publish again.

    @raise Failed: if a check fails.
    """
    stack.up("--build")
    eventually("the controller is ready", lambda: stack.ask("GET", "/ready"))
    version = stack.publish("/health")
    agents = eventually("three agents run it", lambda: len(ids := stack.applied(version)) == 3 and ids)
    eventually("the balancer reaches a worker", lambda: stack.through_balancer("/hit") == (200, b'{"status":"ok"}'))
    for path in ("/", "/config", "/health", "/metrics", "/hit/../config", "//hit"):
        expect(f"{path} from outside", stack.through_balancer(path)[0] in (403, 404), True)
    if stack.profile == "ha":
        lose_each(stack)
    before = stack.ask("GET", "/api/v1/config")
    stack.compose("down")
    stack.up()
    eventually("the controller is ready again", lambda: stack.ask("GET", "/ready"))
    expect("the configuration after all containers were recreated", stack.ask("GET", "/api/v1/config"), before)
    version = stack.publish("/ready")
    found = eventually("three agents run the next one", lambda: len(ids := stack.applied(version)) == 3 and ids)
    expect("the agents after all containers were recreated", found, agents)
    expect("the number of agents", len(stack.ask("GET", "/api/v1/agents?limit=500")), 3)


def main(profiles: list[str]) -> int:
    """Run one profile after the other; return status 1 if a profile failed."""
    compose_command()
    unknown = sorted(set(profiles) - set(PROFILES))
    if unknown:
        raise SystemExit(f"no such profile: {', '.join(unknown)}; choose from {', '.join(PROFILES)}")
    failed = []
    with tempfile.TemporaryDirectory(prefix="confd-containers-") as folder:
        for profile in profiles or PROFILES:
            stack, began = Stack(profile, Path(folder)), time.monotonic()
            try:
                run(stack)
            except Failed as error:
                failed.append(profile)
                print(f"{profile}: FAILED: {error}", flush=True)
            else:
                print(f"{profile}: passed in {time.monotonic() - began:.0f} s", flush=True)
            finally:
                with contextlib.suppress(Failed):
                    stack.compose("down", "--volumes")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
