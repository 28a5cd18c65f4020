"""The type of the reactor that a daemon runs on."""

from __future__ import annotations

from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorCore,
    IReactorFDSet,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
    IReactorUNIX,
)
from zope.interface import Attribute


class Reactor(
    IReactorCore, IReactorFDSet, IReactorPluggableNameResolver, IReactorTCP, IReactorThreads, IReactorTime, IReactorUNIX
):
    """
    What a part may use of a reactor. A part that uses only the time takes an C{IReactorTime} instead.

    No reactor declares that it provides this interface: annotate with it, and do not look it up.
    """

    nameResolver: IHostnameResolver = Attribute("Resolves host names.")
