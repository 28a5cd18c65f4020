"""Tests of L{confd.agent.strategies.factories}: from settings to strategies, as the drop-ins do it."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from confd.agent import plugin
from confd.errors import StartError
from confd.interfaces import IStrategy, StrategyContext
from confd.testing import MemorySink
from tests.agent.fakes import AGENT_ID, FakeController


def context(seed: int = 1, clock: Any = None, controller: Any = None, **environ: str) -> StrategyContext:
    """Return the context of a strategy."""
    return StrategyContext(
        clock or Clock(), "default", environ, controller or FakeController(), lambda: AGENT_ID, Random(seed), 30.0
    )


class FactoriesTests(SynchronousTestCase):
    """The strategies of confd."""

    def test_each_name_makes_its_strategy(self) -> None:
        for name, pushes in (("POLLER", False), ("STREAM", True), ("REDIS", True)):
            strategy = plugin.make(name, context())
            verifyObject(IStrategy, strategy)
            self.assertEqual((strategy.name, strategy.pushes, strategy.path()), (name, pushes, "poll"))

    def test_wrong_settings_of_a_broker_are_refused(self) -> None:
        """The error names all wrong settings."""
        bad = {"REDIS_ADDRESS": "nowhere:port", "REDIS_DB": "x"}
        error = self.assertRaises(StartError, plugin.make, "REDIS", context(**bad))
        self.assertEqual([reason.partition(":")[0] for reason in error.reasons], list(bad))

    def test_a_fleet_reconnects_over_seconds(self) -> None:
        """Promise G8: its controller was restarted, and all of its streams ended in one moment."""
        clock, arrivals = Clock(), Counter[int]()
        streams: list[Deferred[None]] = []

        class Restarted(FakeController):
            def stream(self, *arguments: Any) -> Deferred[None]:
                """A controller that was restarted."""
                arrivals[int(clock.seconds())] += 1
                streams.append(Deferred())
                return streams[-1]

        for seed in range(200):
            plugin.make("STREAM", context(seed, clock, Restarted())).start(MemorySink())
        arrivals.clear()
        for stream in list(streams):
            stream.callback(None)
        clock.pump([0.25] * 16)
        self.assertEqual(arrivals.total(), 200)
        self.assertLess(max(arrivals.values()), 3 * 200 / 4, "the peak is at most 3 times the mean")
