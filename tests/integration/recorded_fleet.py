"""A fleet with a proxy on each link, and a record of each step."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field, frozen

from confd.codec import strict_json
from tests.integration.brokers import Broker
from tests.integration.fleet import ADMIN, PATIENCE, Fleet, Process, eventually, request
from tests.integration.history import History, violations
from tests.integration.launcher import fork
from tests.integration.proxy import Proxy
from tests.integration.recorder import Recorder

#: Seconds between the polls of agents; a poll delivers a version even if its push is lost.
INTERVAL = 2

#: Seconds in which all must be on the newest version: 1.2 intervals, and the deadline of a call under way (promise G4).
BOUND = 1.2 * INTERVAL + 10.0

#: Seconds within which a push path is up again: 5 after a link notices the loss, and the link takes at most 8.
RETURN = 20.0

AGENTS = ("alpha", "beta", "gamma")


@frozen
class Answer:
    """
    The answer to a publish.

    @ivar published: Whether every broker had the version by then.
    @ivar took: Seconds until the answer.
    """

    published: bool
    took: float


@define(eq=False)
class RecordedFleet:
    """
    A controller, agents with recording workers, maybe a broker, and a proxy before the controller and the broker.

    @ivar strategy: The strategy of the agents.
    @ivar names: The names of the agents.
    @ivar broker: The broker; C{None} for a strategy without one.
    @ivar options: More options of the controller.
    @ivar random: The source of all random choices.
    """

    folder: Path
    strategy: str
    random: Random
    broker: Broker | None = None
    environ: dict[str, str] = field(factory=dict)
    options: Sequence[str] = ()
    names: tuple[str, ...] = AGENTS
    history: History = field(init=False)
    daemons: Fleet = field(init=False)
    controller: Process = field(init=False)
    agents: dict[str, Process] = field(factory=dict, init=False)
    proxies: list[Proxy] = field(factory=list, init=False)
    _stack: ExitStack = field(factory=ExitStack, init=False)
    _documents: int = field(default=0, init=False)

    def open(self) -> None:
        """Add all processes, and start the proxies; start no process."""
        self.history = History(self.folder / "history.jsonl")
        self.daemons = Fleet(self.folder, INTERVAL, fork)
        controllers = self.proxy(self.daemons.port)
        options = ["--controller-url", f"http://127.0.0.1:{controllers.port}", "--backoff-max", "4"]
        options += ["--distribution-strategy", self.strategy]
        there = list(self.options)
        if self.broker is not None:
            server = self.broker.server
            self._stack.callback(server.stop)
            there += ["--distribution-strategy", self.strategy, *self.broker.options(server.port)]
            options += self.broker.options(self.proxy(server.port, self.broker).port)
        self.controller = self.daemons.controller(*there)
        self.controller.health = f"{self.daemons.url}/health"
        for name in self.names:
            recorder = Recorder(name, self.history)
            self._stack.callback(recorder.close)
            self.agents[name] = self.daemons.agent(recorder.url, name, *options, ops=True)
            self.agents[name].environ = self.environ
        self._stack.callback(self.daemons.close)

    def close(self) -> None:
        """End all processes and proxies."""
        self._stack.close()

    def proxy(self, port: int, broker: Broker | None = None) -> Proxy:
        """Start a proxy before a port, which faults of the network meet, too."""
        proxy = Proxy(port, Random(self.random.random()), None if broker is None else broker.message).start()
        self._stack.callback(proxy.close)
        self.proxies.append(proxy)
        return proxy

    # -- what is done --

    def start_controller(self) -> None:
        """Start the controller, and record its current version."""
        self.controller.start()
        current = eventually(lambda: found if "version" in (found := self.daemons.current()) else None)
        tag = f"{current['cluster_id'][:8]}.{current['epoch']}.{current['version']}"
        self.history.acknowledged(tag, current["checksum"])

    def start_agents(self, wait: bool = True) -> None:
        """Start all agents."""
        for name, agent in self.agents.items():
            self.history.started(name)
            agent.start(wait=False)
        if wait:
            self.until_up()

    def publish(self, interval: int = INTERVAL) -> Answer:
        """
        Publish a new document; repeat the POST with the same key until it is answered.

        @param interval: Seconds between two polls of an agent from then on.
        """
        self._documents += 1
        document = {"url": f"http://127.0.0.1/{self._documents}", "filler": "x" * self.random.randrange(2000)}
        url = f"{self.daemons.url}/api/v1/config?poll_interval={interval}"
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        begun = time.monotonic()
        response = eventually(lambda: request("POST", url, document, ADMIN, headers))
        assert response.status == 200, response.body
        self.history.acknowledged(response.headers["etag"].strip('"'), strict_json.checksum(document))
        return Answer(response.json()["published"], time.monotonic() - begun)

    # -- what is awaited --

    def settle(self, within: float = BOUND) -> None:
        """
        Wait until all agents have the newest version.

        @raise AssertionError: if the history holds a broken promise.
        """
        self.history.owed(within)
        with suppress(AssertionError):
            eventually(self._settled, within)
        found = violations(self.history.events)
        if found:
            raise AssertionError("; ".join(found[:10]))

    def _settled(self) -> bool:
        newest = self.history.newest()
        return all(self.history.current(name) == newest for name in self.agents)

    def until_up(self) -> None:
        """Wait until all agents serve; the start of a program may take long on a busy machine."""
        self.until(lambda: all(agent.up() for agent in self.agents.values()), "up", PATIENCE)

    def until_path(self, path: str) -> None:
        """Wait until all agents report a path of changes."""
        self.until(lambda: all(self._path(agent) == path for agent in self.agents.values()), f"on {path}", RETURN)

    def _path(self, agent: Process) -> object:
        assert agent.health is not None
        answer: dict[str, Any] = json.loads(request("GET", agent.health.replace("/health", "/ready")).body)
        return answer.get("path")

    def until(self, check: Callable[[], object], what: str, within: float) -> None:
        """
        Wait for a condition.

        @param what: The condition, for the error.
        @raise AssertionError: if the condition does not hold within so many seconds.
        """
        try:
            eventually(check, within)
        except AssertionError as error:
            raise AssertionError(f"not all are {what}: {error}") from None
