"""The interfaces between an agent and the outputs where it puts a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import Attribute, Interface

from confd.interfaces.health import IHealth

if TYPE_CHECKING:
    from confd.model import Configuration
    from confd.runtime.offload import RunInThread


@frozen
class Action:
    """
    A command, signal, systemd unit or URL.

    @ivar kind: C{command}, C{signal}, C{systemd} or C{http}.
    @ivar arguments: of a command; name and pid file of a signal; the unit; the URL.
    """

    kind: str
    arguments: tuple[str, ...]

    @property
    def subject(self) -> str:
        """The name in sentences: the program, the unit, the signal or the URL."""
        return self.arguments[0]

    @property
    def proves(self) -> bool:
        """Whether success shows that the program took the change; nobody answers a signal."""
        return self.kind != "signal"


@frozen
class HealthCheck:
    """
    How an output is asked whether its program still runs well.

    @ivar action: a command, or a loopback URL.
    @ivar interval: seconds between two runs.
    @ivar failures: failed runs in a row until the output is unhealthy.
    @ivar timeout: seconds that one run may take.
    """

    action: Action
    interval: float = 10.0
    failures: int = 3
    timeout: float = 5.0


@frozen
class Step:
    """
    One command, signal or request of a change.

    @ivar key: the set runs steps with equal keys once.
    @ivar description: kind and name, such as C{The reload /usr/sbin/nginx}.
    @ivar run: fires when the step succeeded, and fails with L{confd.errors.Unprocessable} and one sentence otherwise.
    """

    key: tuple[str, ...]
    description: str = field(eq=False)
    run: Callable[[], Deferred[None]] = field(eq=False, repr=False)


@frozen
class OutputState:
    """
    What an output holds now.

    @ivar holds: whether it is in use, and equal to the last commit.
    @ivar verified: whether use was proven, and not only assumed.
    @ivar generation: changes when a configuration that was rejected deserves another attempt.
    @ivar present: whether the output holds any content.
    """

    holds: bool
    verified: bool = True
    generation: str = ""
    present: bool = True


class IOutput(IHealth):
    """A place where the agent puts a configuration."""

    name = Attribute("L{str}: unique in the set; C{http}, or the name of a file.")
    health = Attribute("L{HealthCheck} or C{None}: what tells whether the program still runs well.")

    def stage(configuration: Configuration) -> Deferred[IStagedChange | None]:
        """
        Prepare a change, and alter nothing that others read.

        @return: fires with an L{IStagedChange}, or with C{None} if the output holds the configuration already, in use.
        @raise Unprocessable: if the output rejects the configuration.
        @raise Unavailable: if the output cannot be changed now; the set tries again.
        """

    def inspect() -> Deferred[OutputState]:
        """Fire with the state of the output; costs at most one C{lstat} while nothing changed."""


@frozen
class OutputContext:
    """
    What an output of another package may use.

    @ivar clock: the reactor.
    @ivar namespace: of the agent.
    @ivar environ: the environment of the agent, where an output finds its own settings.
    @ivar in_thread: runs blocking work off the reactor, and returns a L{Deferred}.
    @ivar cache_file: path of the cache; files of an output go beside it.
    """

    clock: IReactorTime
    namespace: str
    environ: Mapping[str, str]
    in_thread: RunInThread
    cache_file: str


class IOutputMaker(Interface):
    """A drop-in in C{twisted/plugins} that makes an output."""

    name = Attribute("L{str}: in upper case, as in C{OUTPUTS}.")

    def make(context: OutputContext) -> IOutput:
        """
        Make the output.

        @raise StartError: if the settings of the output are wrong.
        """


class IStagedChange(Interface):
    """A change that an output has prepared."""

    tests = Attribute("Sequence of L{Step}: run after the commits, before any reload.")
    reloads = Attribute("Sequence of L{Step}: make the running program use the change.")
    probes = Attribute("Sequence of L{Step}: ask the program whether it uses the change.")

    def commit() -> Deferred[None]:
        """Put the change in place."""

    def roll_back() -> Deferred[None]:
        """Put the content before the change back. The set runs the reloads again afterwards."""

    def finish() -> Deferred[None]:
        """Drop the copy for a roll-back: the whole set is applied."""

    def discard() -> Deferred[None]:
        """Drop what was staged; called only before the commit."""


class IConfirmedChange(IStagedChange):
    """A change whose output remembers durably that the program uses it."""

    replaced = Attribute("L{bool}: whether the commit replaces content that a roll-back puts back.")
    was_live = Attribute("L{bool}: whether a program used the content before the change.")
    owed = Attribute("L{bool}: whether the steps have to run; they run after a roll-back in any case.")

    def confirm() -> Deferred[None]:
        """Remember that the program uses the installed contents: after probes, and after reloads of a roll-back."""
