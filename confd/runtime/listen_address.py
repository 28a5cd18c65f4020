"""Check the server endpoints of settings, and write them in the form that Twisted reads."""

from __future__ import annotations

import re
from ipaddress import ip_address

from confd.runtime.addresses import parse_address, parse_host

#: Endpoint types of Twisted itself, and the types among them that have a port and an interface.
_BUILT_IN, _WITH_PORT = ("tcp", "unix", "ssl", "tcp6", "systemd"), ("tcp", "tcp6", "ssl")

#: Endpoint types that never need TLS.
_WITHOUT_TLS = ("tcp", "tcp6", "unix", "systemd")

#: Texts such as a host and a port, which are not endpoints. Twisted reports unknown types itself.
_PLACE = re.compile(r"[^:/]*:[0-9]{2,5}/?|\[.*\](?::[0-9]*)?/?|[0-9A-Fa-f:]*::[0-9A-Fa-f:.]*|\S*[./]\S*:\S*")

#: The value of C{interface=}, up to the next argument.
_INTERFACE = re.compile(r"(?<!\\):interface=(?P<host>.*?)(?=(?<!\\):[A-Za-z0-9]+=|\Z)")


def is_tls(described: str) -> bool:
    """Return whether an endpoint description names a TLS endpoint."""
    return described.startswith("ssl:")


def may_be_tls(described: str | None) -> bool:
    """Return whether an endpoint may listen with TLS of the reactor, as that of a plug-in may."""
    return described is not None and described.partition(":")[0] not in _WITHOUT_TLS


def parse_endpoint(text: str) -> str:
    r"""
    Return a server endpoint in the form that Twisted reads: C{tcp:8080:interface=::1} has its colons escaped.

    @raise ValueError: with a suggestion that follows C{is not an endpoint;}.
    """
    kind, colon, rest = text.partition(":")
    if not colon or rest.startswith("//") or (_PLACE.fullmatch(text) and kind not in {*_BUILT_IN, *_installed()}):
        raise ValueError(f"write {_meant(text)}")
    if kind == "unix" and not rest:
        raise ValueError("write unix: and the path of the socket")
    if kind not in _WITH_PORT:
        return text
    port = re.match(r"(?:port=)?([0-9]{1,5})(?=:|\Z)", rest) or re.search(r":port=([0-9]{1,5})(?=:|\Z)", text)
    if port is None and "\\" in rest:
        return text
    if port is None:
        raise ValueError(f"write {_meant(rest, kind)}")
    if int(port[1]) > 65535:
        raise ValueError("write a port from 1 to 65535")
    return _INTERFACE.sub(_escaped, text)


def _installed() -> set[str]:
    # confdctl imports this module, and its help must appear at once: import Twisted only to read an endpoint.
    from twisted.internet.interfaces import IStreamServerEndpointStringParser
    from twisted.plugin import getPlugins

    return {parser.prefix for parser in getPlugins(IStreamServerEndpointStringParser)}


def _escaped(found: re.Match[str]) -> str:
    host = found["host"].replace("\\", "")
    if host.startswith("[") or ":" in host:
        try:
            host = parse_host(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            return found[0]
        return ":interface=" + host.replace(":", "\\:")
    return found[0]


def _meant(text: str, kind: str = "tcp") -> str:
    """Return the endpoint that an invalid text probably means."""
    scheme, slashes, rest = text.rpartition("://")
    if scheme == "unix" or text.startswith(("/", "./", "unix:")):
        return f"unix:{rest if slashes else text}"
    place = rest.partition("/")[0]
    if place.isdigit():
        # A bare port says nothing about who may connect: suggest loopback.
        return f"{kind}:{place}:interface=127.0.0.1"
    try:
        host, port = parse_address(place.replace("*", "0.0.0.0") if place[:1] not in ":" else f"0.0.0.0{place}")
    except ValueError:
        return _by_host(place, kind)
    return f"{kind}:{port}{_interface(host)}"


def _by_host(text: str, kind: str) -> str:
    try:
        return f"{kind}:8080{_interface(str(ip_address(text.strip('[]'))))}"
    except ValueError:
        return "tcp:8080:interface=127.0.0.1, tcp:8080 or unix:/run/confd.sock"


def _interface(host: str) -> str:
    if host == "0.0.0.0":
        return ""
    return ":interface=" + host.replace(":", "\\:")
