"""
Environment variables and twistd options to one frozen value per role: the machinery; the roles are in
L{confd.settings}.

A role is an attrs class whose fields are made by L{setting}; the field's metadata is all that parsing, C{--help} and
the reference page need. All mistakes of a start come out in one L{StartError}.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import attrs
from twisted.python import usage

from confd.model import POLL_INTERVAL_MAX, POLL_INTERVAL_MIN, StartError, valid_namespace

T = TypeVar("T")

_KEY = "confd.setting"
_SECRET_LIMIT = 65536

#: How alike a variable must be to one of ours to be taken for a misspelling (S22, S25, S26), and how long at least.
_ALIKE = 0.84
_SHORTEST = 7
#: Names that container platforms make by themselves for a service of ours.
_PLATFORM_SUFFIXES = ("_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_TCP", "_ADDR", "_PROTO")


@attrs.frozen
class Setting:
    """
    One setting: how it is called, read and explained.

    @ivar parse: makes the value of a text, or raises L{ValueError} with what is wrong.
    @ivar default: its text; C{None} is unset.
    @ivar secret: it can come from the file that C{NAME_FILE} names, and is never shown.
    """

    name: str
    parse: Callable[[str], Any]
    default: str | None
    help: str
    secret: bool = False

    @property
    def option(self) -> str:
        """The twistd option of the same name."""
        return self.name.lower().replace("_", "-")

    @property
    def file_name(self) -> str:
        """The variable that names the file of a secret."""
        return f"{self.name}_FILE"


def setting(
    name: str, help: str, default: str | None = "", parse: Callable[[str], Any] = str, secret: bool = False
) -> Any:
    """Declare a field of a role; see L{Setting}."""
    return attrs.field(metadata={_KEY: Setting(name, parse, default, help, secret)}, repr=not secret)


def settings_of(role: type) -> list[Setting]:
    """The settings of a role, in the order in which it declares them."""
    return [each.metadata[_KEY] for each in attrs.fields(role)]


# -- parsers --


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number from C{low} to C{high}."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.removeprefix("-").isdigit() and low <= int(text[:20]) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

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


def urls(text: str) -> tuple[str, ...]:
    """A comma list of at least one http or https URL, without a slash at their ends."""
    found = names(text)
    for url in found:
        if not url.startswith(("http://", "https://")) or not url.partition("://")[2]:
            raise ValueError(f"{_without_userinfo(url)!r} must be an http:// or https:// URL")
        if "@" in url:
            raise ValueError("must not hold credentials; there are settings for them")
    if not found:
        raise ValueError("must name at least one http:// or https:// URL")
    return tuple(url.rstrip("/") for url in found)


def url(text: str) -> str:
    """One http or https URL."""
    found = urls(text)
    if len(found) != 1:
        raise ValueError("must be one URL")
    return found[0]


def namespace(text: str) -> str:
    """The name of a namespace."""
    if not valid_namespace(text):
        raise ValueError("must be 1 to 63 lower-case letters, digits and dashes")
    return text


def _without_userinfo(url: str) -> str:
    scheme, there, rest = url.rpartition("://")
    return scheme + there + rest.rpartition("@")[2]


poll_interval = whole(POLL_INTERVAL_MIN, POLL_INTERVAL_MAX)


# -- reading --


def read(role: type[T], given: Mapping[str, str], environ: Mapping[str, str], siblings: Sequence[type] = ()) -> T:
    """
    Make the settings of a role.

    @param given: what the options say, by environment name; they win over C{environ}.
    @param siblings: roles whose settings may stand in the same environment.
    @raise StartError: with every mistake at once.
    """
    mistakes = _misspelt(role, environ, siblings)
    values = {}
    for each in attrs.fields(role):
        declared: Setting = each.metadata[_KEY]
        try:
            text = _text(declared, given, environ)
            values[each.name] = None if text is None else declared.parse(text)
        except ValueError as error:
            mistakes.append(f"{declared.name}: {error}.")
    if not mistakes:
        settings = role(**values)
        mistakes = getattr(settings, "mistakes", list)()
    if mistakes:
        raise StartError(*mistakes)
    return settings


def _text(declared: Setting, given: Mapping[str, str], environ: Mapping[str, str]) -> str | None:
    if declared.name in given:
        return given[declared.name]
    # An empty variable is what compose and systemd make of one that is not set.
    direct = environ.get(declared.name) or None
    path = environ.get(declared.file_name) if declared.secret else None
    if path:
        if direct is not None:
            raise ValueError(f"is set, and {declared.file_name} too; remove one of them")
        return _secret_from(path, declared.file_name)
    return declared.default if direct is None else direct


def _secret_from(path: str, name: str) -> str:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_SECRET_LIMIT)
        text = raw.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"{name} names {path}, which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} names {path}, which is not UTF-8 text") from None
    if not text:
        raise ValueError(f"{name} names {path}, which is empty")
    return text


def _misspelt(role: type, environ: Mapping[str, str], siblings: Sequence[type]) -> list[str]:
    """Variables that nobody reads but that look like ours: a setting that silently does not count is a trap (S22)."""
    own = set(_names_of(role))
    known = own.union(*map(_names_of, siblings))
    mistakes = []
    for name in sorted(environ.keys() - known):
        if len(name) >= _SHORTEST and not name.endswith(_PLATFORM_SUFFIXES):
            for close in get_close_matches(name, own, 1, _ALIKE):
                mistakes.append(f"{name}: no such setting; did you mean {close}?")
    return mistakes


def _names_of(role: type) -> list[str]:
    """Every environment variable that a role reads."""
    declared = settings_of(role)
    return [each.name for each in declared] + [each.file_name for each in declared if each.secret]


# -- twistd --


class RoleOptions(usage.Options):
    """
    The options of a twistd command: those of its role, and nothing else.

    @cvar role: the class of the settings, which L{settings} holds once parsing is over.
    @cvar siblings: see L{read}.
    """

    role: ClassVar[type]
    siblings: ClassVar[Sequence[type]] = ()
    settings: Any

    def __init_subclass__(cls) -> None:
        cls.optParameters = [line for declared in settings_of(cls.role) for line in _option_lines(declared)]

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environ = environ

    def parseArgs(self, *extra: str) -> None:
        """Refuse what is not an option."""
        if extra:
            raise SystemExit(
                f"{extra[0]}: unexpected argument; settings are options or environment variables, see --help"
            )

    def postOptions(self) -> None:
        """Read the settings; end the process with one line a mistake, and no traceback."""
        declared = settings_of(self.role)
        given = {each.name: self[each.option] for each in declared if self[each.option] is not None}
        files = {
            each.file_name: self[f"{each.option}-file"]
            for each in declared
            if each.secret and self[f"{each.option}-file"] is not None
        }
        environ = {
            name: text for name, text in self._environ.items() if name.removesuffix("_FILE") + "_FILE" not in files
        }
        try:
            self.settings = read(self.role, given, environ | files, self.siblings)
        except StartError as error:
            raise SystemExit(str(error)) from None


def _option_lines(declared: Setting) -> list[list[str | None]]:
    default = "unset" if declared.default is None else declared.default or '""'
    lines: list[list[str | None]] = [
        [declared.option, None, None, f"{declared.help} ({declared.name}; default: {default})"]
    ]
    if declared.secret:
        lines.append([f"{declared.option}-file", None, None, f"A file that holds it ({declared.file_name})"])
    return lines
