"""Make the strategies of confd; the drop-ins in C{twisted/plugins} name these functions."""

from __future__ import annotations

from confd.agent.strategies.poll_only import PollOnly
from confd.agent.strategies.pubsub import PubSub
from confd.agent.strategies.stream import Stream
from confd.brokers.factory import follow_passwords, make_broker
from confd.interfaces import IStrategy, StrategyContext
from confd.runtime.options import read
from confd.runtime.settings import BrokerSettings
from confd.runtime.timing import Backoff

#: Seconds over which a fleet spreads its first reconnection to a restarted controller.
RETURN_SPREAD_SECONDS = 4.0


def poller(context: StrategyContext) -> IStrategy:
    """Make the strategy POLLER."""
    return PollOnly()


def stream(context: StrategyContext) -> IStrategy:
    """Make the strategy STREAM."""
    backoff = Backoff(context.random, context.backoff_max, base=RETURN_SPREAD_SECONDS)
    return Stream(context.reactor, context.controller, context.namespace, context.agent_id, backoff)


def redis(context: StrategyContext) -> IStrategy:
    """Make the strategy REDIS."""
    return _pubsub(context, "REDIS")


def nats(context: StrategyContext) -> IStrategy:
    """Make the strategy NATS."""
    return _pubsub(context, "NATS")


def kafka(context: StrategyContext) -> IStrategy:
    """Make the strategy KAFKA."""
    return _pubsub(context, "KAFKA")


def _pubsub(context: StrategyContext, name: str) -> IStrategy:
    settings = read(BrokerSettings, {}, context.environ)
    broker = make_broker(context.reactor, settings, name)
    passwords = follow_passwords(context.reactor, settings, context.environ, [broker])
    return PubSub(context.reactor, broker, context.namespace, context.random, passwords)
