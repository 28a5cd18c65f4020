"""What every strategy must do."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from confd.interfaces import ISink, IStrategy
from confd.model import Tag

#: Makes a strategy that has not started, whose far end is away, and the clock that it runs on.
StrategyFixture = Callable[[SynchronousTestCase], tuple[IStrategy, Clock]]


@implementer(ISink)
class MemorySink:
    """
    Remembers what a strategy brings.

    @ivar heard: the names of the methods that were called, with their arguments.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def hint(self) -> None:
        self.heard.append(("hint",))

    def known(self) -> Tag | None:
        return None

    def served(self, raw: bytes, named: str) -> Deferred[str | None]:
        self.heard.append(("served", raw, named))
        return succeed(None)

    def announced(self, raw: bytes) -> Deferred[bool]:
        self.heard.append(("announced", raw))
        return succeed(True)

    def rung(self, raw: bytes) -> None:
        self.heard.append(("rung", raw))


def make_istrategy_tests(fixture: StrategyFixture) -> type[SynchronousTestCase]:
    """Make the contract suite of L{IStrategy} for the strategies that C{fixture} makes."""

    class IStrategyTests(SynchronousTestCase):
        def setUp(self) -> None:
            self.strategy, self.clock = fixture(self)
            self.sink = MemorySink()

        def test_interface(self) -> None:
            verifyObject(IStrategy, self.strategy)
            verifyObject(ISink, self.sink)
            self.assertEqual(self.strategy.name, self.strategy.name.upper())

        def test_changes_arrive_by_poll_while_the_far_end_is_away(self) -> None:
            self.assertEqual(self.strategy.path(), "poll")
            self.strategy.start(self.sink)
            self.clock.pump([1] * 60)
            self.assertEqual(self.strategy.path(), "poll")
            self.successResultOf(self.strategy.stop())

        def test_nothing_is_left_after_a_stop(self) -> None:
            self.strategy.start(self.sink)
            self.clock.pump([1] * 10)
            self.successResultOf(self.strategy.stop())
            self.assertEqual((self.clock.getDelayedCalls(), self.strategy.path()), ([], "poll"))

    return IStrategyTests
