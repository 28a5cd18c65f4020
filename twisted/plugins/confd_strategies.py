"""Name the strategies of confd as strings, so that only the selected strategy is imported."""

from confd.agent.plugin import StrategyMaker

poller = StrategyMaker("POLLER", "confd.agent.strategies.factories.poller")
redis = StrategyMaker("REDIS", "confd.agent.strategies.factories.redis")
nats = StrategyMaker("NATS", "confd.agent.strategies.factories.nats")
kafka = StrategyMaker("KAFKA", "confd.agent.strategies.factories.kafka")
stream = StrategyMaker("STREAM", "confd.agent.strategies.factories.stream")
