"""What a daemon listens on, and for how many."""

from __future__ import annotations

import resource
import socket
from collections.abc import Sequence
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory

from confd.errors import StartError
from confd.runtime.certificate_expiry import InUse
from confd.runtime.daemon import in_threads_of
from confd.runtime.reactor import Reactor
from confd.runtime.reload import ReloadedFiles
from confd.runtime.tls import Served, is_tls, server_endpoint

#: Seconds for which what was sent to a peer may stay unconfirmed.
UNACKNOWLEDGED_MAX_SECONDS = 30

#: File descriptors that are left for files, brokers and whoever has to look into it, when all connections are taken.
RESERVED_DESCRIPTORS = 64


def raise_fd_limit(connections: int) -> int:
    """
    So many connections, or as many as this process may have open: it takes all of the file descriptors that it may.

    What is refused then is refused in order, and the rest of the process goes on.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - RESERVED_DESCRIPTORS)
    return connections


#: Connections that may wait to be accepted, where the endpoint says nothing else.
BACKLOG = 1024


class Listener(StreamServerEndpointService):
    """
    Serves on an endpoint, or says in one sentence why it cannot.

    @ivar port: what listens, once it does.
    """

    _raiseSynchronously = True

    port: Any = None

    def __init__(
        self,
        reactor: Reactor,
        setting: str,
        endpoint: str,
        factory: IProtocolFactory,
        client_ca: str | None = None,
    ) -> None:
        """
        @param setting: the name of the setting that holds the endpoint, for the error.
        @param client_ca: PEM certificates of those who sign for the clients of an C{ssl} endpoint, if they need that.
        @raise StartError: if the endpoint cannot be understood.
        """
        self._certificate: ReloadedFiles[Served] | None = None
        try:
            described = _with_backlog(endpoint)
            if is_tls(described):
                parsed, self._certificate = server_endpoint(
                    reactor, in_threads_of(reactor), described, client_ca, setting
                )
            else:
                parsed = serverFromString(reactor, described)
        except Exception as error:
            raise StartError(f"{setting}: {endpoint!r} is not an endpoint such as tcp:8080: {error}.") from None
        super().__init__(parsed, factory)
        self._setting, self._described = setting, endpoint

    def startService(self) -> None:
        """Serve, and look after the certificate."""
        super().startService()
        if self._certificate is not None:
            self._certificate.startService()

    def in_use(self) -> Sequence[InUse]:
        """Return the files of certificates in use."""
        return () if self._certificate is None else self._certificate.value.in_use

    def reload(self) -> None:
        """Load the certificate again."""
        if self._certificate is not None:
            self._certificate.reload()

    async def _stop(self) -> None:
        if self._certificate is not None:
            await maybeDeferred(self._certificate.stopService)
        await maybeDeferred(super().stopService)
        drain = getattr(self.factory, "drain", None)
        if drain is not None:
            await drain()

    def stopService(self) -> Deferred[None]:
        """Fires when nothing new is accepted and what was in flight is finished."""
        return Deferred.fromCoroutine(self._stop())

    def privilegedStartService(self) -> None:
        """
        Bind.

        @raise StartError: if the address is taken or may not be used.
        """
        try:
            super().privilegedStartService()
            if self._waitingForPort is not None:
                self._waitingForPort.addCallback(self._listening)
        except Exception as error:
            reason = error.socketError if isinstance(error, CannotListenError) else error
            said = getattr(reason, "strerror", None) or str(reason)
            raise StartError(f"{self._setting}: cannot listen on {self._described}: {said}.") from None

    def _listening(self, port: Any) -> Any:
        self.port = port
        _give_up_on_the_vanished(port)
        return port


def _give_up_on_the_vanished(port: Any) -> None:
    """
    Let the system end connections whose peers take nothing and confirm nothing; those that are accepted inherit it.

    What is sent to a peer that has vanished fits into the system's buffers for long, so that nothing else would tell.
    """
    listening = getattr(port, "socket", None)
    if listening is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MAX_SECONDS * 1000)


def _with_backlog(endpoint: str) -> str:
    """Room for a fleet that connects all at once: what Twisted's 50 places do not hold waits for another SYN."""
    kind = endpoint.partition(":")[0]
    takes_one = kind in ("tcp", "tcp6", "ssl", "unix") and ":backlog=" not in endpoint
    return f"{endpoint}:backlog={BACKLOG}" if takes_one else endpoint
