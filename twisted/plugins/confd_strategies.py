"""The strategies that come with confd: names only, nothing is imported until one is picked."""

from confd.agent.plugin import StrategyMaker

poller = StrategyMaker("POLLER", "confd.agent.strategies.factories.poller")
redis = StrategyMaker("REDIS", "confd.agent.strategies.factories.redis")
nats = StrategyMaker("NATS", "confd.agent.strategies.factories.nats")
stream = StrategyMaker("STREAM", "confd.agent.strategies.factories.stream")
