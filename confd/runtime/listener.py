"""Listen on an endpoint, with a bounded number of connections."""

from __future__ import annotations

import resource
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from confd.errors import StartError
from confd.runtime.certificate_expiry import InUse
from confd.runtime.daemon import in_threads_of
from confd.runtime.listen_address import is_tls
from confd.runtime.reactor import Reactor
from confd.runtime.reload import ReloadedFiles

if TYPE_CHECKING:
    from confd.runtime.tls import ServerCertificates

#: Seconds that sent data may stay unacknowledged before the system ends the connection.
UNACKNOWLEDGED_MAX_SECONDS = 30

#: File descriptors reserved for files, brokers and debugging while all connections are in use.
RESERVED_DESCRIPTORS = 64


def raise_fd_limit(connections: int) -> int:
    """
    Raise RLIMIT_NOFILE to fit a number of connections; return how many fit.

    @param connections: connections at the same time.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - RESERVED_DESCRIPTORS)
    return connections


#: Connections that may wait to be accepted, unless the endpoint names another number.
BACKLOG = 1024


class Listener(Service):
    """
    Listen on an endpoint, and report in one sentence why that fails.

    Twisted has C{StreamServerEndpointService}, whose module loads a library of state machines for clients.

    @ivar port: the listening port, C{None} before the start.
    """

    log = Logger()

    port: IListeningPort | None = None

    def __init__(
        self,
        reactor: Reactor,
        setting: str,
        endpoint: str,
        factory: IProtocolFactory,
        client_ca: str | None = None,
    ) -> None:
        """
        @param setting: the setting that holds the endpoint, for errors.
        @param client_ca: path of the certificate authorities of clients, for an C{ssl} endpoint that requires client
            certificates.
        @raise StartError: if the endpoint is invalid.
        """
        self._endpoint: IStreamServerEndpoint
        self._certificate: ReloadedFiles[ServerCertificates] | None = None
        try:
            described = _with_backlog(endpoint)
            if is_tls(described):
                from confd.runtime.tls import server_endpoint

                self._endpoint, self._certificate = server_endpoint(
                    reactor, in_threads_of(reactor), described, client_ca, setting
                )
            else:
                self._endpoint = serverFromString(reactor, described)
        except Exception as error:
            raise StartError(f"{setting}: {endpoint!r} is not an endpoint such as tcp:8080: {error}.") from None
        self.factory, self._opening = factory, None  # type: IProtocolFactory, Deferred[IListeningPort | None] | None
        self._setting, self._described = setting, endpoint

    def startService(self) -> None:
        """Accept connections, and watch the certificate files."""
        super().startService()
        if self._opening is None:
            self.privilegedStartService()
        if self._certificate is not None:
            self._certificate.startService()

    def in_use(self) -> Sequence[InUse]:
        """Return the certificate files in use."""
        return () if self._certificate is None else self._certificate.value.in_use

    def reload(self) -> None:
        """Reload the certificate."""
        if self._certificate is not None:
            self._certificate.reload()

    async def _stop(self) -> None:
        if self._certificate is not None:
            await maybeDeferred(self._certificate.stopService)
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            port = await opening
            if port is not None:
                await maybeDeferred(port.stopListening)
        super().stopService()
        drain = getattr(self.factory, "drain", None)
        if drain is not None:
            await drain()

    def stopService(self) -> Deferred[None]:
        """Stop accepting connections; fire when the requests in flight are finished."""
        return Deferred.fromCoroutine(self._stop())

    def privilegedStartService(self) -> None:
        """
        Bind the address.

        @raise StartError: if the address is in use or not permitted.
        """
        failures: list[Failure] = []

        def failed(failure: Failure) -> None:
            failures.append(failure)
            if self._opening is not None and not failure.check(CancelledError):
                self.log.failure("{endpoint} cannot be opened", failure, endpoint=self._described)

        opening = cast("Deferred[IListeningPort | None]", self._endpoint.listen(self.factory))
        opening.addCallbacks(self._listening, failed)
        if not failures:
            self._opening = opening
            return
        try:
            failures[0].raiseException()
        except Exception as error:
            reason = error.socketError if isinstance(error, CannotListenError) else error
            said = getattr(reason, "strerror", None) or str(reason)
            raise StartError(f"{self._setting}: cannot listen on {self._described}: {said}.") from None

    def _listening(self, port: IListeningPort) -> IListeningPort:
        self.port = port
        self.log.info("listening on {endpoint}", endpoint=self._described)
        _set_user_timeout(port)
        return port


def _set_user_timeout(port: IListeningPort) -> None:
    """
    Let the system end connections whose peers acknowledge nothing; accepted connections inherit the option.

    Nothing else would detect a vanished peer for long, as the system's buffers accept all data for it.
    """
    listening = getattr(port, "socket", None)
    if listening is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MAX_SECONDS * 1000)


def _with_backlog(endpoint: str) -> str:
    """Add a backlog for a fleet that connects all at once: beyond Twisted's default of 50, clients must retry."""
    kind = endpoint.partition(":")[0]
    takes_one = kind in ("tcp", "tcp6", "ssl", "unix") and ":backlog=" not in endpoint
    return f"{endpoint}:backlog={BACKLOG}" if takes_one else endpoint
