"""The kinds of values that settings have: each makes one of a text, or raises L{ValueError} with what is wrong."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from urllib.parse import unquote

from confd.codec import strict_json
from confd.errors import ConfdError
from confd.model import POLL_INTERVAL_MAX, POLL_INTERVAL_MIN, valid_namespace
from confd.runtime.addresses import Network, is_loopback, parse_address, parse_base_url, parse_network
from confd.runtime.files import read_file
from confd.runtime.listen_address import parse_endpoint

_WHOLE = re.compile("-?[0-9]{1,19}")
_INTERFACE = re.compile(r"(?<!\\):interface=((?:\\.|[^:\\])*)")
_SECRET_LIMIT = 65536
_LOGIN = re.compile(r"(?P<scheme>https?://)(?P<login>[^/?#]*)@(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number from C{low} to C{high}."""

    def parse(text: str) -> int:
        if not (_WHOLE.fullmatch(text) and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def zero_or(low: int, high: int) -> Callable[[str], int]:
    """0, or a whole number from C{low} to C{high}."""

    def parse(text: str) -> int:
        return 0 if text == "0" else whole(low, high)(text)

    return parse


def at_most(characters: int) -> Callable[[str], str]:
    """A text of at most so many characters, none of which is NUL."""

    def parse(text: str) -> str:
        if len(text) > characters:
            raise ValueError(f"must be at most {characters} characters; it has {len(text)}")
        return text

    return parse


def flag(text: str) -> bool:
    """C{true} or C{false}."""
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}[text.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def choice(*names: str) -> Callable[[str], str]:
    """One of C{names}."""

    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return text.lower()

    return parse


def names(text: str) -> tuple[str, ...]:
    """A comma list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def some_of(*known: str) -> Callable[[str], tuple[str, ...]]:
    """A comma list of any of C{known}, which are upper case."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(name.upper() for name in names(text))
        for name in found:
            if name not in known:
                raise ValueError(f"{name!r} is not one of {', '.join(known)}")
        return found

    return parse


def namespaces(text: str) -> tuple[str, ...]:
    """A comma list of namespaces, or C{*} for all."""
    return tuple(dict.fromkeys(each if each == "*" else namespace(each) for each in names(text)))


def _urls(example: str, *schemes: str) -> Callable[[str], tuple[str, ...]]:
    """A comma list of at least one URL with one of these schemes, without a slash at their ends."""

    def parse(text: str) -> tuple[str, ...]:
        # Looked for in the whole text, and not repeated: a password may hold a comma.
        if "@" in text:
            raise ValueError("must not hold credentials; there are settings for them")
        expected = f"must be {' or '.join(f'{scheme}://' for scheme in schemes)} URLs such as {example}"
        try:
            found = tuple(parse_base_url(each, schemes) for each in names(text))
        except ValueError as error:
            raise ValueError(f"{expected}; one {error}") from None
        if not found:
            raise ValueError(expected)
        return found

    return parse


urls = _urls("http://localhost:8080", "http", "https")
nats_urls = _urls("nats://localhost:4222", "nats", "tls")


def url(text: str) -> str:
    """One http or https URL."""
    found = urls(text)
    if len(found) != 1:
        raise ValueError("must be one URL")
    return found[0]


class LoginUrl(str):
    """
    A URL without the credentials that came with it.

    @ivar credentials: name and password, C{None} where there were none.
    """

    __slots__ = ("credentials",)
    credentials: tuple[str, str] | None


def login_url(text: str) -> LoginUrl:
    """One http or https URL, which may hold a name and a password, percent-encoded where need be."""
    match = _LOGIN.fullmatch(text)
    if match is None:
        made = LoginUrl(url(text))
        made.credentials = None
        return made
    name, _, password = match["login"].partition(":")
    if not password:
        raise ValueError("must hold no credentials, or both a name and a password, as in http://name:password@host")
    made = LoginUrl(url(match["scheme"] + match["rest"]))
    made.credentials = user_name(unquote(name)), unquote(password)
    return made


def namespace(text: str) -> str:
    """The name of a namespace."""
    if not valid_namespace(text):
        raise ValueError("must be 1 to 63 lower-case letters, digits and dashes")
    return text


def address(text: str) -> tuple[str, int]:
    """A host and a port; the host of an IPv6 address is in brackets."""
    expected = "must be a host and a port, such as localhost:6379"
    if "@" in text:
        # Without a word of it: what is before the @ may be a password.
        raise ValueError(f"{expected}, without credentials; there are settings for them")
    try:
        return parse_address(text)
    except ValueError as error:
        raise ValueError(f"{expected}; it {error}") from None


def endpoint(text: str) -> str:
    """A Twisted server endpoint; an IPv6 address in C{interface} may stand as it is, or in brackets."""
    try:
        return parse_endpoint(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an endpoint; {error}") from None


def networks(text: str) -> tuple[Network, ...]:
    """A comma list of addresses and networks."""
    try:
        return tuple(parse_network(each) for each in names(text))
    except ValueError as error:
        raise ValueError(f"must be addresses and networks such as 10.0.0.0/8: {error}") from None


def word(text: str) -> str:
    """A name without spaces."""
    if not text or not text.isprintable() or " " in text:
        raise ValueError("must be a name without spaces")
    return text


def subject(text: str) -> str:
    """A NATS subject that can be published to: words with dots between them, no wildcards."""
    if not all(text.split(".")) or re.search(r"[\s*>]", text):
        raise ValueError("must be a subject such as config.worker.update, without wildcards")
    return text


def document(text: str) -> dict[str, object]:
    """A configuration document: a JSON object."""
    try:
        value = strict_json.decode(text.encode())
        strict_json.checksum(value)
    except ConfdError as error:
        raise ValueError(f"must be a JSON object: {error.message.rstrip('.')}") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


def user_name(text: str) -> str:
    """A name that HTTP Basic can carry (RFC 7617)."""
    if not text or ":" in text or not text.isprintable():
        raise ValueError("must be a name without colon")
    return text


def secret_from(path: str, name: str, read: Callable[[str, int], tuple[bytes, int]] = read_file) -> str:
    """
    The secret that a file holds.

    @param name: the setting that names the file.
    @param read: returns its bytes and mode, given a limit of bytes.
    @raise ValueError: if it cannot be had.
    """
    try:
        raw, mode = read(path, _SECRET_LIMIT + 1)
        text = raw.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{name} names {path!r}, which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} names {path!r}, which is not UTF-8 text") from None
    if text.startswith("\ufeff"):
        raise ValueError(f"{name} names {path!r}, which begins with a byte order mark; save it as UTF-8 without one")
    if mode & stat.S_IWOTH:
        raise ValueError(f"{name} names {path!r}, which everybody on this machine may write to; chmod o-w it")
    if not text:
        raise ValueError(f"{name} names {path!r}, which is empty")
    if len(raw) > _SECRET_LIMIT:
        raise ValueError(f"{name} names {path!r}, which is longer than {_SECRET_LIMIT} bytes")
    if not text.isprintable() and any(ord(each) < 32 or ord(each) == 127 for each in text):
        raise ValueError(f"{name} names {path!r}, which holds a control character or more than one line")
    return text


def secret_remarks(path: str, name: str) -> list[str]:
    """
    Return what looks wrong with a file that a secret came from, one sentence each, without the secret.

    @param name: the setting that names the file.
    """
    try:
        raw, mode = read_file(path, _SECRET_LIMIT + 1)
        text = raw.decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    if mode & stat.S_IROTH:
        found.append(f"{name}: everybody on this machine may read {path}; chmod o-r it.")
    if text != text.strip():
        found.append(f"{name}: the secret in {path} begins or ends with a space, which is part of it.")
    return found


poll_interval = whole(POLL_INTERVAL_MIN, POLL_INTERVAL_MAX)


def is_private(endpoint: str) -> bool:
    """Whether only this machine can reach what listens on C{endpoint}: a unix socket, or an address of loopback."""
    kind = endpoint.partition(":")[0]
    if kind == "unix":
        return True
    # All of them: of two, the last one counts.
    interfaces = [found.replace("\\", "") for found in _INTERFACE.findall(endpoint)]
    return kind in ("tcp", "tcp6", "ssl") and bool(interfaces) and all(map(is_loopback, interfaces))
