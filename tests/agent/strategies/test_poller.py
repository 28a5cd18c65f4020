"""Tests of L{confd.agent.strategies.poller}."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from confd.agent.strategies.poller import Poller
from confd.testing import make_istrategy_tests

#: It looks at nothing of its context.
CONTEXT: Any = None


class PollerTests(make_istrategy_tests(lambda _: (Poller(CONTEXT), Clock()))):  # type: ignore[misc]
    """It keeps the contract of strategies; there is nothing more to it."""
