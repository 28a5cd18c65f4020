"""Strategies by name: a maker that imports nothing until it is asked, and the lookup of those that are installed."""

from __future__ import annotations

from attrs import frozen
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

from confd.errors import StartError
from confd.interfaces import IStrategy, IStrategyMaker, StrategyContext


@implementer(IPlugin, IStrategyMaker)
@frozen
class StrategyMaker:
    """
    A strategy that can be picked by name, for a drop-in in C{twisted/plugins}.

    @ivar name: in upper case, as in C{DISTRIBUTION_STRATEGY}.
    @ivar factory: the dotted name of what makes it of a L{StrategyContext}; imported when it is made, not before.
    """

    name: str
    factory: str

    def make(self, context: StrategyContext) -> IStrategy:
        """See L{IStrategyMaker}."""
        strategy: IStrategy = namedAny(self.factory)(context)
        return strategy


def strategies() -> dict[str, IStrategyMaker]:
    """The installed ones, by name."""
    return {maker.name: maker for maker in getPlugins(IStrategyMaker)}


def make(name: str, context: StrategyContext) -> IStrategy:
    """
    Construct an installed strategy.

    @raise StartError: if there is none of that name, or its settings are wrong.
    """
    installed = strategies()
    if name not in installed:
        there = ", ".join(sorted(installed))
        raise StartError(f"DISTRIBUTION_STRATEGY: {name!r} is not installed; there are: {there}.")
    return installed[name].make(context)
