"""The interfaces between an agent and the way in which it learns of changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from confd.interfaces.clients import IControllerClient

if TYPE_CHECKING:
    from confd.model import (
        Tag,
    )
    from confd.runtime.reactor import Reactor


class ISink(Interface):
    """Takes what strategies receive; the agent has one."""

    def hint() -> None:
        """Compare with the controller soon: the document may have changed. Many hints cause few requests."""

    def known() -> Tag | None:
        """Return the tag of the newest configuration that this agent received."""

    def served(raw: bytes, named: str) -> Deferred[str | None]:
        """
        Take the body of a configuration from an authenticated controller; bodies are applied in the order of the calls.

        @param named: the tag that came beside the body.
        @return: fires with C{None} if the configuration is now the newest received one, or was so before; else with a
            sentence that says why it changes nothing. Fails with L{Malformed}, or C{CancelledError} if the agent stops.
        """

    def announced(raw: bytes) -> Deferred[bool]:
        """
        Take a message of a broker. A message that a controller signed is believed; any other one is counted as a hint.

        @return: fires with whether the message was believed; never fails.
        """

    def rung(raw: bytes) -> None:
        """
        Take the doorbell of a rollout. An agent that was picked polls once, within the time that the doorbell names. A
        doorbell that no controller signed is a hint, at most once a second.
        """


#: What L{IStrategy.path} says while no push path is up.
POLL = "poll"


class IStrategy(Interface):
    """
    A way in which an agent learns of a change sooner than by its next poll.

    The agent polls whatever its strategy does; a strategy only hurries it up, and never applies anything itself. Where
    it has a method C{reload} without arguments, that is called on SIGHUP.
    """

    name = Attribute("L{str}: as in C{DISTRIBUTION_STRATEGY}.")
    pushes = Attribute("L{bool}: whether a push path exists; while it is down the agent polls more often.")
    connections = Attribute("L{int}: how often the push path came up so far.")

    def start(sink: ISink) -> None:
        """Begin to listen; returns at once, connects in the background, and never gives up (promise G4)."""

    def stop() -> Deferred[None]:
        """Fire when nothing is left open; L{ISink} is not called after."""

    def path() -> str:
        """Return the way of changes now: L{POLL}, or the name of the strategy while its push path is up."""


@frozen
class StrategyContext:
    """
    What a strategy may use.

    @ivar reactor: the timers, sockets and threads of the process; its clock is monotonic.
    @ivar namespace: whose document the agent is for.
    @ivar environ: the settings as they were given, by the names of their environment variables.
    @ivar controller: the controllers, for a strategy that asks them itself.
    @ivar agent_id: names this agent; empty until it is registered.
    @ivar random: where jitter comes from.
    @ivar backoff_max: seconds between two attempts at most.
    """

    reactor: Reactor
    namespace: str
    environ: Mapping[str, str]
    controller: IControllerClient
    agent_id: Callable[[], str]
    random: Random
    backoff_max: float


class IStrategyMaker(Interface):
    """A strategy that can be picked by name: found by C{twisted.plugin} in C{twisted.plugins}."""

    name = Attribute("L{str}: in upper case, as in C{DISTRIBUTION_STRATEGY}.")

    def make(context: StrategyContext) -> IStrategy:
        """
        Construct it; connects nothing.

        @raise StartError: naming the settings that are wrong.
        """
