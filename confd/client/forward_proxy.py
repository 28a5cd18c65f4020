"""The HTTP proxy on the way to a controller: which one there is, and for which hosts it is passed by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import TypeVar
from urllib.parse import unquote

from attrs import field, frozen

from confd.codec.headers import basic_authorization
from confd.runtime.addresses import is_loopback, join, parse_host, split_authority

T = TypeVar("T")

#: Explains the setting C{CONTROLLER_PROXY}.
HELP = (
    "URL of the HTTP proxy to the controller, or none to connect directly."
    " If unset, HTTP_PROXY, HTTPS_PROXY and NO_PROXY decide."
)

#: Says that there is no proxy, whatever the shared variables say.
NONE = "none"


@frozen
class ForwardProxy:
    """
    An HTTP proxy.

    @ivar host: a name or an address, without brackets.
    @ivar authorization: the value of C{Proxy-Authorization}; C{None} sends none.
    """

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The proxy for people, without its credentials."""
        return join(self.host, self.port)


def parse_proxy(text: str) -> ForwardProxy:
    """
    Read the URL of a proxy: C{http://user:password@host:port}, where only the host must be there.

    @raise ValueError: saying what is wrong, without the value: it may hold a password.
    """
    scheme, found, rest = text.rpartition("://")
    if not text.isprintable() or re.search(r"[\s\\]", text):
        raise ValueError("must be a URL without spaces, such as http://proxy.example:3128")
    if found and scheme.lower() != "http":
        raise ValueError("must begin with http://; other kinds of proxy are not supported")
    credentials, at, place = rest.removesuffix("/").rpartition("@")
    if re.search("[/?#]", place + credentials):
        raise ValueError("must end after the port; percent-encode what is special in a password")
    host, port = split_authority(place)
    return ForwardProxy(parse_host(host), port or 80, _authorization(credentials) if at else None)


def _authorization(credentials: str) -> bytes:
    name, _, password = credentials.partition(":")
    name = unquote(name)
    if ":" in name or not name.isprintable():
        raise ValueError("must have a user name without colon")
    return basic_authorization(name, unquote(password))


@frozen
class ForwardProxies:
    """
    Which proxy leads to which host.

    @ivar http: for C{http} addresses.
    @ivar https: for C{https} addresses.
    @ivar bypass: hosts that are reached without a proxy, as C{NO_PROXY} names them.
    """

    http: ForwardProxy | None = None
    https: ForwardProxy | None = None
    bypass: tuple[str, ...] = ()

    def find(self, scheme: str, host: str, port: int) -> ForwardProxy | None:
        """
        Return the proxy for an address; C{None} where it is reached directly, as this machine always is.

        @param host: without brackets.
        """
        proxy = self.https if scheme == "https" else self.http
        host = host.lower().removesuffix(".")
        if proxy is None or _is_local(host) or any(_covers(rule, host, port) for rule in self.bypass):
            return None
        return proxy


def parse_only_proxy(text: str) -> ForwardProxies:
    """
    Read one proxy for all addresses, or C{none}.

    @raise ValueError: see L{parse_proxy}.
    """
    if text.lower() == NONE:
        return ForwardProxies()
    proxy = parse_proxy(text)
    return ForwardProxies(proxy, proxy)


def parse_bypass(text: str) -> tuple[str, ...]:
    """Read C{NO_PROXY}: hosts, domains, addresses and networks, with commas or spaces between them."""
    return tuple(each.lower() for each in re.split(r"[,\s]+", text) if each)


def read_proxies(environ: Mapping[str, str], only: ForwardProxies | None = None) -> ForwardProxies:
    """
    Return the proxies that an environment names.

    @param only: what C{CONTROLLER_PROXY} says; C{None} heeds the shared variables.
    @raise ValueError: in one sentence that begins with the name of the variable.
    """
    if only is not None:
        return only

    def read(name: str, parse: Callable[[str], T]) -> T | None:
        text = environ.get(name) or environ.get(name.lower())
        try:
            return parse(text) if text else None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    http, https = read("HTTP_PROXY", parse_proxy), read("HTTPS_PROXY", parse_proxy)
    return ForwardProxies(http, https, read("NO_PROXY", parse_bypass) or ())


def _is_local(host: str) -> bool:
    return is_loopback(host) or host.endswith(".localhost")


def _covers(rule: str, host: str, port: int) -> bool:
    """Tell whether a rule of C{NO_PROXY} names a host; one that nobody understands names none."""
    if rule == "*":
        return True
    named = re.fullmatch(r"\[?([^\[\]]*?)\]?(?::([0-9]{1,5}))?", rule)
    # Without brackets, a last group of an IPv6 address is no port.
    name, number = (rule, None) if named is None or (rule.count(":") > 1 and "[" not in rule) else named.groups()
    if number is not None and int(number) != port:
        return False
    try:
        address = ip_address(host)
    except ValueError:
        domain = name.removeprefix("*").removeprefix(".").removesuffix(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return (getattr(address, "ipv4_mapped", None) or address) in ip_network(name, strict=False)
    except ValueError:
        return False
