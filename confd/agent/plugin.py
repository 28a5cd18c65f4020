"""Find installed strategies and outputs by name, and import one only when it is made."""

from __future__ import annotations

from typing import cast

from attrs import frozen
from twisted.plugin import IPlugin, getPlugins
from twisted.python.reflect import namedAny
from zope.interface import implementer

from confd.errors import StartError
from confd.interfaces import IOutput, IOutputMaker, IStrategy, IStrategyMaker, OutputContext, StrategyContext


@implementer(IPlugin, IStrategyMaker)
@frozen
class StrategyMaker:
    """
    Make a strategy for a drop-in in C{twisted/plugins}.

    @ivar name: The name in C{DISTRIBUTION_STRATEGY}, in upper case.
    @ivar factory: Dotted name of a function that takes a L{StrategyContext}; imported by L{make}.
    """

    name: str
    factory: str

    def make(self, context: StrategyContext) -> IStrategy:
        return cast(IStrategy, namedAny(self.factory)(context))


@implementer(IPlugin, IOutputMaker)
@frozen
class OutputMaker:
    """
    Make an output for a drop-in in C{twisted/plugins}.

    @ivar name: The name in C{OUTPUTS}, in upper case.
    @ivar factory: Dotted name of a function that takes an L{OutputContext}; imported by L{make}.
    """

    name: str
    factory: str

    def make(self, context: OutputContext) -> IOutput:
        return cast(IOutput, namedAny(self.factory)(context))


def output_makers() -> dict[str, IOutputMaker]:
    """Return the makers of the installed outputs by name."""
    return {maker.name: maker for maker in getPlugins(IOutputMaker)}


def strategies() -> dict[str, IStrategyMaker]:
    """Return the makers of the installed strategies by name."""
    return {maker.name: maker for maker in getPlugins(IStrategyMaker)}


def make(name: str, context: StrategyContext) -> IStrategy:
    """
    Make an installed strategy.

    @raise StartError: if no strategy has that name, or its settings are wrong.
    """
    installed = strategies()
    if name not in installed:
        names = ", ".join(sorted(installed))
        raise StartError(f"DISTRIBUTION_STRATEGY: {name!r} is not installed; use one of {names}.")
    return installed[name].make(context)
