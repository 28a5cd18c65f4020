"""
Load TLS only where it is used: OpenSSL and its bindings take a fifth of the memory and of the start of an agent.

Twisted loads pyOpenSSL wherever it is installed. A process whose settings name no TLS calls L{leave_out_tls} before
its reactor is installed. It can still make TLS connections: the first one loads L{confd.runtime.tls}.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

if TYPE_CHECKING:
    from types import ModuleType

#: Modules of Twisted that load pyOpenSSL if they can, and do without it otherwise.
_OPTIONAL = (
    "twisted.internet.tcp",
    "twisted.internet.posixbase",
    "twisted.internet.endpoints",
)


def leave_out_tls(modules_of_role: Sequence[str] = ()) -> None:
    """
    Import the modules of Twisted that load pyOpenSSL as on a machine without pyOpenSSL.

    @param modules_of_role: more modules of Twisted that load pyOpenSSL if they can.

    The reactor then neither listens with C{ssl:} nor starts TLS on a connection. Modules that are loaded stay.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    if "OpenSSL" in modules:
        return
    # The import system refuses modules that are None (PEP 328).
    modules["OpenSSL"] = None
    try:
        for name in (*_OPTIONAL, *modules_of_role):
            import_module(name)
    finally:
        del modules["OpenSSL"]


@implementer(IStreamClientEndpoint)
@frozen(eq=False)
class TlsEndpoint:
    """Speak TLS on the connections of another endpoint, as C{wrapClientTLS} does where the reactor has TLS."""

    _creator: IOpenSSLClientConnectionCreator
    _endpoint: IStreamClientEndpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, and begin TLS."""
        from twisted.protocols.tls import TLSMemoryBIOFactory

        connecting = self._endpoint.connect(TLSMemoryBIOFactory(self._creator, True, factory))
        return connecting.addCallback(lambda connection: cast(ProtocolWrapper, connection).wrappedProtocol)


def verified(host: str, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
    """Return an endpoint that speaks TLS, and trusts the authorities of the system for a host."""
    from confd.runtime.tls import client_options

    return TlsEndpoint(client_options(host), endpoint)
