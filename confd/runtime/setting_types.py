"""Parse the values of settings. Each parser raises L{ValueError} with a reason that completes C{NAME: ...}."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from urllib.parse import unquote

from confd.codec import strict_json
from confd.codec.values import valid_pointer
from confd.errors import ConfdError
from confd.model import POLL_INTERVAL_MAX, POLL_INTERVAL_MIN, valid_namespace
from confd.runtime.addresses import Network, is_loopback, join, parse_address, parse_base_url, parse_network
from confd.runtime.files import read_file
from confd.runtime.listen_address import parse_endpoint

_WHOLE = re.compile("-?[0-9]{1,19}")
_INTERFACE = re.compile(r"(?<!\\):interface=((?:\\.|[^:\\])*)")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_SECRET_BYTES = 65536
_LOGIN = re.compile(r"(?P<scheme>https?://)(?P<login>[^/?#]*)@(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from C{low} to C{high}."""

    def parse(text: str) -> int:
        if not (_WHOLE.fullmatch(text) and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def zero_or(low: int, high: int) -> Callable[[str], int]:
    """Return a parser of 0, or of whole numbers from C{low} to C{high}."""

    def parse(text: str) -> int:
        return 0 if text == "0" else whole(low, high)(text)

    return parse


def at_most(characters: int) -> Callable[[str], str]:
    """Return a parser of texts with at most so many characters."""

    def parse(text: str) -> str:
        if len(text) > characters:
            raise ValueError(f"must be at most {characters} characters; it has {len(text)}")
        return text

    return parse


def uuid(text: str) -> str:
    """Parse a UUID as C{GET /api/v1/cluster} shows it."""
    if not _UUID.fullmatch(text):
        raise ValueError("must be a UUID such as 0b7a6a56-2c0c-4d5e-9b1c-1f4c3f6f0a11")
    return text


def postgres_url(text: str) -> str:
    """Parse the URL of a PostgreSQL database; only psycopg knows all of its syntax."""
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    return text


def flag(text: str) -> bool:
    """Parse C{true} or C{false}."""
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}[text.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def choice(*names: str) -> Callable[[str], str]:
    """Return a parser of one of C{names}, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return text.lower()

    return parse


def names(text: str) -> tuple[str, ...]:
    """Split a comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def some_of(*known: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of a comma-separated list of C{known} names, which are upper case."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(name.upper() for name in names(text))
        for name in found:
            if name not in known:
                raise ValueError(f"{name!r} is not one of {', '.join(known)}")
        return found

    return parse


def namespaces(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of namespaces; C{*} stands for all."""
    return tuple(dict.fromkeys(each if each == "*" else namespace(each) for each in names(text)))


def namespace_patterns(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of namespaces, and prefixes of namespaces that end with C{*}."""
    found = tuple(dict.fromkeys(names(text)))
    for each in found:
        if each != "*":
            namespace(each.removesuffix("*"))
    if not found:
        raise ValueError("must name a namespace; * means all")
    return found


def _urls(example: str, *schemes: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser of a comma-separated list of base URLs."""

    def parse(text: str) -> tuple[str, ...]:
        # Search the whole text, and do not repeat it: a password may contain a comma.
        if "@" in text:
            raise ValueError("must not contain credentials, which have settings of their own")
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
    """Parse one http or https URL."""
    found = urls(text)
    if len(found) != 1:
        raise ValueError("must be one URL")
    return found[0]


class LoginUrl(str):
    """
    A URL, separated from the credentials that it contained.

    @ivar credentials: user name and password, or C{None}.
    """

    __slots__ = ("credentials",)
    credentials: tuple[str, str] | None


def login_url(text: str) -> LoginUrl:
    """Parse an http or https URL that may contain a user name and a password, percent-encoded."""
    match = _LOGIN.fullmatch(text)
    if match is None:
        made = LoginUrl(url(text))
        made.credentials = None
        return made
    name, _, password = match["login"].partition(":")
    if not password:
        raise ValueError("must contain no credentials, or a user name and a password, as in http://name:password@host")
    made = LoginUrl(url(match["scheme"] + match["rest"]))
    made.credentials = user_name(unquote(name)), unquote(password)
    return made


def namespace(text: str) -> str:
    """Parse the name of a namespace."""
    if not valid_namespace(text):
        raise ValueError("must be 1 to 63 lower-case letters, digits and dashes")
    return text


def address(text: str) -> tuple[str, int]:
    """Parse a host and a port; an IPv6 address is in brackets."""
    expected = "must be a host and a port, such as localhost:6379"
    if "@" in text:
        # Do not repeat the text: a password may precede the @.
        raise ValueError(f"{expected}, without credentials, which have settings of their own")
    try:
        return parse_address(text)
    except ValueError as error:
        raise ValueError(f"{expected}; it {error}") from None


def addresses(text: str) -> tuple[tuple[str, int], ...]:
    """Parse a comma-separated list of hosts and ports."""
    found = tuple(address(each) for each in names(text))
    if not found:
        raise ValueError("must name a host and a port, such as localhost:9092")
    return found


def host_and_port(text: str) -> str:
    """Parse a host and a port; return their normal form."""
    return join(*address(text))


def endpoint(text: str) -> str:
    """Parse a Twisted server endpoint; the C{interface} may be an IPv6 address without escapes."""
    try:
        return parse_endpoint(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an endpoint; {error}") from None


def networks(text: str) -> tuple[Network, ...]:
    """Parse a comma-separated list of addresses and networks."""
    try:
        return tuple(parse_network(each) for each in names(text))
    except ValueError as error:
        raise ValueError(f"must be addresses and networks such as 10.0.0.0/8: {error}") from None


def word(text: str) -> str:
    """Parse a name without spaces."""
    if not text or not text.isprintable() or " " in text:
        raise ValueError("must be a name without spaces")
    return text


def subject(text: str) -> str:
    """Parse a NATS subject to publish to: tokens separated by dots, without wildcards."""
    if not all(text.split(".")) or re.search(r"[\s*>]", text):
        raise ValueError("must be a subject such as config.worker.update, without wildcards")
    return text


def stream_name(text: str) -> str:
    """Parse the name of a JetStream stream."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) is None:
        raise ValueError("must be a name of letters, digits, - and _, at most 64 of them")
    return text


def topic_name(text: str) -> str:
    """Parse the name of a Kafka topic."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) is None or text in (".", ".."):
        raise ValueError("must be a name of letters, digits, ., - and _, at most 249 of them")
    return text


def json_pointer(text: str) -> str:
    """Parse a JSON pointer (RFC 6901)."""
    if not valid_pointer(text):
        raise ValueError("must be a JSON pointer such as /flags, or empty for the whole document")
    return text


def token(text: str) -> str:
    """Parse a bearer token (RFC 6750)."""
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("must be printable ASCII characters without spaces")
    return text


def document(text: str) -> dict[str, object]:
    """Parse a configuration document: a JSON object."""
    try:
        value = strict_json.decode(text.encode())
        strict_json.checksum(value)
    except ConfdError as error:
        raise ValueError(f"must be a JSON object: {error.message.rstrip('.')}") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


def user_name(text: str) -> str:
    """Parse a user name for HTTP Basic authentication (RFC 7617)."""
    if not text or ":" in text or not text.isprintable():
        raise ValueError("must be a name without a colon")
    return text


def secret_from(path: str, name: str, read: Callable[[str, int], tuple[bytes, int]] = read_file) -> str:
    """
    Read a secret from a file.

    @param name: setting that names the file.
    @param read: returns content and mode of a file, given a limit of bytes.
    @raise ValueError: if the file cannot be read, or does not contain one line of text.
    """
    try:
        raw, mode = read(path, _MAX_SECRET_BYTES + 1)
        text = raw.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{name} names {path!r}, which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} names {path!r}, which is not UTF-8 text") from None
    if text.startswith("\ufeff"):
        raise ValueError(f"{name} names {path!r}, which begins with a byte order mark; save it as UTF-8 without one")
    if mode & stat.S_IWOTH:
        raise ValueError(f"{name} names {path!r}, which every user of this machine can change; run chmod o-w")
    if not text:
        raise ValueError(f"{name} names {path!r}, which is empty")
    if len(raw) > _MAX_SECRET_BYTES:
        raise ValueError(f"{name} names {path!r}, which is longer than {_MAX_SECRET_BYTES} bytes")
    if not text.isprintable() and any(ord(each) < 32 or ord(each) == 127 for each in text):
        raise ValueError(f"{name} names {path!r}, which contains a control character or more than one line")
    return text


def secret_remarks(path: str, name: str) -> list[str]:
    """
    Return warnings about the file of a secret, one sentence each, without the secret.

    @param name: setting that names the file.
    """
    try:
        raw, mode = read_file(path, _MAX_SECRET_BYTES + 1)
        text = raw.decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    if mode & stat.S_IROTH:
        found.append(f"{name}: every user of this machine can read {path}; run chmod o-r.")
    if text != text.strip():
        found.append(f"{name}: the secret in {path} begins or ends with a space, which is part of the secret.")
    return found


poll_interval = whole(POLL_INTERVAL_MIN, POLL_INTERVAL_MAX)


def is_private(endpoint: str) -> bool:
    """Return whether an endpoint is reachable from this machine only: a unix socket or a loopback address."""
    kind = endpoint.partition(":")[0]
    if kind == "unix":
        return True
    # Check all: Twisted uses the last of several.
    interfaces = [found.replace("\\", "") for found in _INTERFACE.findall(endpoint)]
    return kind in ("tcp", "tcp6", "ssl") and bool(interfaces) and all(map(is_loopback, interfaces))
