"""The process that plays all agents, seen from the one that measures."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import define

from benchmarks.dialects import command
from benchmarks.host import Invalid
from tests.integration.fleet import clean_environment

#: Seconds that a publish gets to reach all agents.
DEADLINE = 20.0

_ROOT = Path(__file__).resolve().parents[1]


@define(eq=False)
class Crowd:
    """A process of L{benchmarks.fleet}."""

    strategy: str
    agents: int
    controller: int | None
    broker: int | None
    interval: float
    _child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """
        Start it; returns once all agents are subscribed.

        @raise Invalid: they are not.
        """
        arguments = [self.strategy, "--agents", str(self.agents), "--poll-interval", str(self.interval)]
        if self.controller is not None:
            arguments += ["--controller", f"127.0.0.1:{self.controller}"]
        if self.broker is not None:
            arguments += ["--broker", f"127.0.0.1:{self.broker}"]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fleet", *arguments],
            cwd=_ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        ready = self.hear()["ready"]
        if ready != self.agents:
            raise Invalid(f"only {ready} of {self.agents} agents came to be subscribed")

    def expect(self, key: str) -> None:
        """Ask when all of them hold something; L{hear} tells."""
        assert self._child is not None and self._child.stdin is not None
        self._child.stdin.write(command(key=key, seconds=DEADLINE))
        self._child.stdin.flush()

    def said(self, seconds: float) -> bool:
        """Whether it has something to say, after at most C{seconds}."""
        assert self._child is not None and self._child.stdout is not None
        return bool(select.select([self._child.stdout], [], [], seconds)[0])

    def hear(self) -> dict[str, Any]:
        """
        What it says.

        @raise Invalid: it has ended.
        """
        assert self._child is not None and self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise Invalid("the fleet has ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
