"""From what an agent was told to its strategy: where the drop-ins of C{twisted/plugins} lead."""

from __future__ import annotations

from confd.agent.strategies.poll_only import PollOnly
from confd.agent.strategies.pubsub import PubSub
from confd.agent.strategies.stream import Stream
from confd.brokers.factory import follow_passwords, make_broker
from confd.interfaces import IStrategy, StrategyContext
from confd.runtime.options import read
from confd.runtime.settings import BrokerSettings
from confd.runtime.timing import Backoff

#: Seconds over which a fleet spreads its first return to a controller that was restarted.
RETURN_SPREAD_SECONDS = 4.0


def poller(context: StrategyContext) -> IStrategy:
    """POLLER."""
    return PollOnly()


def stream(context: StrategyContext) -> IStrategy:
    """STREAM."""
    backoff = Backoff(context.random, context.backoff_max, base=RETURN_SPREAD_SECONDS)
    return Stream(context.reactor, context.controller, context.namespace, context.agent_id, backoff)


def redis(context: StrategyContext) -> IStrategy:
    """REDIS."""
    return _pubsub(context, "REDIS")


def nats(context: StrategyContext) -> IStrategy:
    """NATS."""
    return _pubsub(context, "NATS")


def _pubsub(context: StrategyContext, name: str) -> IStrategy:
    settings = read(BrokerSettings, {}, context.environ)
    broker = make_broker(context.reactor, settings, name)
    passwords = follow_passwords(context.reactor, settings, context.environ, [broker])
    return PubSub(context.reactor, broker, context.namespace, context.random, passwords)
