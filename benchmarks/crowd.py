"""Control of the processes that play the agents of a benchmark."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks.dialects import command
from benchmarks.host import Invalid
from tests.integration.fleet import clean_environment

#: Time for a publish to reach all agents.
DEADLINE = 20.0

_ROOT = Path(__file__).resolve().parents[1]


@define(eq=False)
class Players:
    """
    A process that plays agents. It reads an order a line from standard input, and writes a result a line.

    @ivar module: the name of the Python module to run.
    """

    module: str
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def begin(self, arguments: list[str], agents: int) -> None:
        """
        Start the process, and return once all agents are ready.

        @raise Invalid: if some are not ready in time.
        """
        self._child = subprocess.Popen(
            [sys.executable, "-m", self.module, *arguments],
            cwd=_ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        ready = self.hear()["ready"]
        if ready != agents:
            raise Invalid(f"only {ready} of {agents} agents are ready")

    def order(self, **values: object) -> None:
        """Send an order; L{hear} returns its result."""
        assert self._child is not None and self._child.stdin is not None
        self._child.stdin.write(command(**values))
        self._child.stdin.flush()

    def said(self, seconds: float) -> bool:
        """Wait at most C{seconds} for a result, and return whether it has arrived."""
        assert self._child is not None and self._child.stdout is not None
        return bool(select.select([self._child.stdout], [], [], seconds)[0])

    def hear(self) -> dict[str, Any]:
        """
        Return the next result.

        @raise Invalid: if the process has ended.
        """
        assert self._child is not None and self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise Invalid("the agents have ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()


@define(eq=False)
class Crowd(Players):
    """Agents that listen for changes: a process of L{benchmarks.fleet}."""

    module: str = field(default="benchmarks.fleet", init=False)
    strategy: str
    agents: int
    controller: int | None
    broker: int | None
    interval: float

    def start(self) -> None:
        """Start the agents: see L{Players.begin}."""
        arguments = [self.strategy, "--agents", str(self.agents), "--poll-interval", str(self.interval)]
        if self.controller is not None:
            arguments += ["--controller", f"127.0.0.1:{self.controller}"]
        if self.broker is not None:
            arguments += ["--broker", f"127.0.0.1:{self.broker}"]
        self.begin(arguments, self.agents)

    def expect(self, key: str) -> None:
        """Ask when each agent holds C{key}; L{hear} returns the times."""
        self.order(key=key, seconds=DEADLINE)
