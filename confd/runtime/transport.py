"""TCP connections to a host by its name or address: one resolver for every role and every peer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.runtime.reactor import Reactor

#: Seconds that one address gets to accept a connection, and after which the next address is tried as well (RFC 8305).
CONNECT_SECONDS, NEXT_ADDRESS_SECONDS = 5.0, 0.3


def _anything(addresses: Sequence[str]) -> None:
    """Let every address pass."""


@implementer(IStreamClientEndpoint)
@define(eq=False)
class HostEndpoint:
    """
    Connects to a host. Unlike Twisted's C{HostnameEndpoint}, it takes every name that a resolver may know.

    @ivar check: called with all addresses of the host before one is connected to; what it raises ends the attempt.
    """

    _reactor: Reactor
    _host: str
    _port: int
    _seconds: float = CONNECT_SECONDS
    _check: Callable[[Sequence[str]], None] = _anything

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Resolve the host, and connect to the first of its addresses that accepts."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        hosts = [self._host] if _is_address(self._host) else await self._resolve()
        self._check(hosts)
        if not hosts:
            raise DNSLookupError(f"no results for hostname lookup: {self._host}")
        race = _Race(self._reactor, factory, deque(self._endpoint(host) for host in hosts))
        race.begin()
        protocol: IProtocol = await race.won
        return protocol

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
    Attempts to connect, of which the first to succeed wins.

    @ivar won: fires with its protocol; fails with the error of the last attempt where none succeeds.
    """

    _reactor: Reactor
    _factory: IProtocolFactory
    _left: deque[IStreamClientEndpoint]
    _trying: list[Deferred[Any]] = field(factory=list, init=False)
    _timer: Any = field(default=None, init=False)
    _over: bool = field(default=False, init=False)
    won: Deferred[Any] = field(init=False)

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

    def _connected(self, protocol: Any, attempt: Deferred[Any]) -> None:
        self._trying.remove(attempt)
        self._stop()
        self.won.callback(protocol)

    def _failed(self, failure: Failure, attempt: Deferred[Any]) -> None:
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
    Collects the addresses of a host name.

    @ivar found: fires with them.
    """

    def __init__(self) -> None:
        self._hosts: list[str] = []
        self.found: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Resolution starts."""

    def addressResolved(self, address: IAddress) -> None:
        """One more address."""
        self._hosts.append(address.host)  # type: ignore[attr-defined]

    def resolutionComplete(self) -> None:
        """That was all."""
        if not self.found.called:
            self.found.callback(self._hosts)
