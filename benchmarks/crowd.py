"""The processes that play all agents, seen from the one that measures."""

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

#: Seconds that a publish gets to reach all agents.
DEADLINE = 20.0

_ROOT = Path(__file__).resolve().parents[1]


@define(eq=False)
class Players:
    """
    A process that plays agents, is told what to do a line at a time, and says what comes of it.

    @ivar module: what it runs.
    """

    module: str
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def begin(self, arguments: list[str], agents: int) -> None:
        """
        Start it; returns once all agents are ready.

        @raise Invalid: they are not.
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
            raise Invalid(f"only {ready} of {agents} agents came to be ready")

    def order(self, **values: object) -> None:
        """Tell it to do something; L{hear} tells what came of it."""
        assert self._child is not None and self._child.stdin is not None
        self._child.stdin.write(command(**values))
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
            raise Invalid("the agents have ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> None:
        """End it."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()


@define(eq=False)
class Crowd(Players):
    """Agents that listen: a process of L{benchmarks.fleet}."""

    module: str = field(default="benchmarks.fleet", init=False)
    strategy: str
    agents: int
    controller: int | None
    broker: int | None
    interval: float

    def start(self) -> None:
        """See L{Players.begin}."""
        arguments = [self.strategy, "--agents", str(self.agents), "--poll-interval", str(self.interval)]
        if self.controller is not None:
            arguments += ["--controller", f"127.0.0.1:{self.controller}"]
        if self.broker is not None:
            arguments += ["--broker", f"127.0.0.1:{self.broker}"]
        self.begin(arguments, self.agents)

    def expect(self, key: str) -> None:
        """Ask when all of them hold something; L{hear} tells."""
        self.order(key=key, seconds=DEADLINE)
