"""Tests of L{confd.agent.strategies.poll_only}."""

from __future__ import annotations

from twisted.internet.task import Clock

from confd.agent.strategies.poll_only import PollOnly
from confd.testing import make_istrategy_tests


class PollerTests(make_istrategy_tests(lambda _: (PollOnly(), Clock()))):  # type: ignore[misc]
    """The contract of strategies."""
