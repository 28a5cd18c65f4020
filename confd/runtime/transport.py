"""Connect to a host by name or address: the one resolver of all roles."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.runtime.reactor import Reactor

#: Seconds that an address gets to accept a connection, and until the next address is tried as well (RFC 8305).
CONNECT_SECONDS, NEXT_ADDRESS_SECONDS = 5.0, 0.3


def _accept_all(addresses: Sequence[str]) -> None:
    """Accept all addresses."""


@implementer(IStreamClientEndpoint)
@define(eq=False)
class HostEndpoint:
    """
    Connect to a host. Unlike Twisted's C{HostnameEndpoint}, it accepts every name that a resolver may know.

    @ivar seconds: timeout of the attempt to reach one address.
    @ivar check: called with all addresses of the host before the first attempt; may raise an error to refuse them.
    """

    _reactor: Reactor
    _host: str
    _port: int
    _seconds: float = CONNECT_SECONDS
    _check: Callable[[Sequence[str]], None] = _accept_all

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Resolve the host, and connect to the first address that accepts."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        hosts = [self._host] if _is_address(self._host) else await self._resolve()
        self._check(hosts)
        if not hosts:
            raise DNSLookupError(f"no results for hostname lookup: {self._host}")
        race = _Race(self._reactor, factory, deque(self._endpoint(host) for host in hosts))
        race.begin()
        return await race.won

    def _endpoint(self, host: str) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        endpoint: IStreamClientEndpoint = kind(self._reactor, host, self._port, self._seconds)
        return endpoint

    def _resolve(self) -> Deferred[list[str]]:
        addresses = _Addresses()
        self._reactor.nameResolver.resolveHostName(addresses, self._host, self._port)
        return addresses.found


def _is_address(host: str) -> bool:
    try:
        return bool(ip_address(host))
    except ValueError:
        return False


@define(eq=False)
class _Race:
    """
    Connection attempts to several addresses; the first to succeed wins.

    @ivar won: fires with the protocol of the winner; fails with the error of the last attempt if all fail.
    """

    _reactor: Reactor
    _factory: IProtocolFactory
    _left: deque[IStreamClientEndpoint]
    _trying: list[Deferred[IProtocol]] = field(factory=list, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _over: bool = field(default=False, init=False)
    won: Deferred[IProtocol] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.won = Deferred(lambda _: self._stop())

    def begin(self) -> None:
        """Try the next address, and the one after it a little later."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        endpoint = self._left.popleft()
        if self._left:
            self._timer = self._reactor.callLater(NEXT_ADDRESS_SECONDS, self.begin)
        attempt = endpoint.connect(self._factory)
        self._trying.append(attempt)
        attempt.addCallbacks(self._connected, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,))

    def _connected(self, protocol: IProtocol, attempt: Deferred[IProtocol]) -> None:
        self._trying.remove(attempt)
        self._stop()
        self.won.callback(protocol)

    def _failed(self, failure: Failure, attempt: Deferred[IProtocol]) -> None:
        self._trying.remove(attempt)
        if self._over:
            return
        if self._left:
            self.begin()
        elif not self._trying:
            self._stop()
            self.won.errback(failure)

    def _stop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._over = True
        for each in list(self._trying):
            each.cancel()


@implementer(IResolutionReceiver)
class _Addresses:
    """
    Collect the addresses of a host name.

    @ivar found: fires with the addresses when the resolution is complete.
    """

    def __init__(self) -> None:
        self._hosts: list[str] = []
        self.found: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Do nothing."""

    def addressResolved(self, address: IAddress) -> None:
        """Add an address."""
        self._hosts.append(address.host)  # type: ignore[attr-defined]

    def resolutionComplete(self) -> None:
        """Fire L{found}."""
        if not self.found.called:
            self.found.callback(self._hosts)
