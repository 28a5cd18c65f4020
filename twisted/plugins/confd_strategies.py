"""The strategies that come with confd: names only, nothing is imported until one is picked."""

from confd.agent.plugin import StrategyMaker

poller = StrategyMaker("POLLER", "confd.agent.strategies.poller.Poller")
