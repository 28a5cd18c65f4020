"""The strategies that come with confd: names only, nothing is imported until one is picked."""

from confd.agent.plugin import StrategyMaker

poller = StrategyMaker("POLLER", "confd.agent.strategies.making.poller")
redis = StrategyMaker("REDIS", "confd.agent.strategies.making.redis")
nats = StrategyMaker("NATS", "confd.agent.strategies.making.nats")
stream = StrategyMaker("STREAM", "confd.agent.strategies.making.stream")
