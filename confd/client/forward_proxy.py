"""The settings of forward proxies: which proxy to use for a host, and which hosts to reach directly."""

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

#: The value that disables proxies, whatever C{HTTP_PROXY} and C{HTTPS_PROXY} say.
NONE = "none"


@frozen
class ForwardProxy:
    """
    An HTTP proxy.

    @ivar host: a name or an address, without brackets.
    @ivar authorization: value of C{Proxy-Authorization}; C{None} sends none.
    """

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The address of the proxy, without credentials."""
        return join(self.host, self.port)


def parse_proxy(text: str) -> ForwardProxy:
    """
    Parse the URL of a proxy: C{http://user:password@host:port}, in which only the host is required.

    @raise ValueError: with a reason that does not repeat the value, which may contain a password.
    """
    scheme, found, rest = text.rpartition("://")
    if not text.isprintable() or re.search(r"[\s\\]", text):
        raise ValueError("must be a URL without spaces, such as http://proxy.example:3128")
    if found and scheme.lower() != "http":
        raise ValueError("must begin with http://; other kinds of proxy are not supported")
    credentials, at, place = rest.removesuffix("/").rpartition("@")
    if re.search("[/?#]", place + credentials):
        raise ValueError("must end after the port; percent-encode special characters of the password")
    host, port = split_authority(place)
    return ForwardProxy(parse_host(host), port or 80, _authorization(credentials) if at else None)


def _authorization(credentials: str) -> bytes:
    name, _, password = credentials.partition(":")
    name = unquote(name)
    if ":" in name or not name.isprintable():
        raise ValueError("must have a user name without a colon")
    return basic_authorization(name, unquote(password))


@frozen
class ForwardProxies:
    """
    The proxies of a process.

    @ivar http: proxy for C{http} URLs.
    @ivar https: proxy for C{https} URLs.
    @ivar bypass: hosts to reach directly, in the notation of C{NO_PROXY}.
    """

    http: ForwardProxy | None = None
    https: ForwardProxy | None = None
    bypass: tuple[str, ...] = ()

    def find(self, scheme: str, host: str, port: int) -> ForwardProxy | None:
        """
        Return the proxy for an address; C{None} to connect directly, as always to this machine.

        @param host: without brackets.
        """
        proxy = self.https if scheme == "https" else self.http
        host = host.lower().removesuffix(".")
        if proxy is None or _is_local(host) or any(_covers(rule, host, port) for rule in self.bypass):
            return None
        return proxy


def parse_only_proxy(text: str) -> ForwardProxies:
    """
    Parse the URL of one proxy for all addresses, or C{none}.

    @raise ValueError: see L{parse_proxy}.
    """
    if text.lower() == NONE:
        return ForwardProxies()
    proxy = parse_proxy(text)
    return ForwardProxies(proxy, proxy)


def parse_bypass(text: str) -> tuple[str, ...]:
    """Parse C{NO_PROXY}: hosts, domains, addresses and networks, separated by commas or spaces."""
    return tuple(each.lower() for each in re.split(r"[,\s]+", text) if each)


def read_proxies(environ: Mapping[str, str], only: ForwardProxies | None = None) -> ForwardProxies:
    """
    Return the proxies of an environment.

    @param only: the value of C{CONTROLLER_PROXY}; C{None} uses the shared variables.
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
    """Return whether a rule of C{NO_PROXY} names a host; an invalid rule names no host."""
    if rule == "*":
        return True
    named = re.fullmatch(r"\[?([^\[\]]*?)\]?(?::([0-9]{1,5}))?", rule)
    # Without brackets, the last group of an IPv6 address is not a port.
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
