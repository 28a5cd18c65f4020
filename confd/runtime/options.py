"""
Environment variables and twistd options to one frozen value per role: the machinery; the roles are in
L{confd.runtime.settings}.

A role is an attrs class whose fields are made by L{setting}; the field's metadata is all that parsing, C{--help} and
the reference page need. All mistakes of a start come out in one L{StartError}.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from typing import Any, ClassVar, TypeVar

import attrs
from twisted.internet import asyncioreactor
from twisted.python import usage

from confd.errors import StartError
from confd.runtime.pid_file import PidFile, take_over
from confd.runtime.setting_types import secret_from, secret_remarks

T = TypeVar("T", bound=attrs.AttrsInstance)

_KEY = "confd.setting"

#: How alike the words of a variable and of a setting are, where the one is a misspelling of the other, and how long a
#: variable is at least for us to tell.
_ALIKE, _SHORTEST = 0.75, 7

#: Before the name of any setting, for environments in which other programs use the name itself.
PREFIX = "CONFD_"

#: Words that other programs use for the words of our settings.
_WORDS = {"USER": "USERNAME", "PASS": "PASSWORD"}

#: Variables with this prefix that confdctl reads.
_OF_CONFDCTL = {"CONFD_URL", "CONFD_CA_FILE", "CONFD_NAMESPACE", "CONFD_PROFILE"}

#: Names that container platforms make by themselves for a service of ours, and the value that one of them has.
_PLATFORM_NAME = re.compile(r".*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT|PORT_[0-9]+_\w+|TCP|ADDR|PROTO)")
_SERVICE_LINK = re.compile(r"(?:tcp|udp|sctp)://[^/]*")


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
        return _option(self.name)

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


def _names_of(role: type) -> list[str]:
    """Every environment variable that a role reads."""
    return [
        name for each in settings_of(role) for name in ([each.name, each.file_name] if each.secret else [each.name])
    ]


def _option(name: str) -> str:
    return name.lower().replace("_", "-")


# -- reading --


def own_environment(role: type, environ: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment as a role reads it, with each setting by its own name.

    A variable with L{PREFIX} replaces the one of the bare name. Empty variables are left out, as compose and systemd
    make them of unset ones; so are service links of Kubernetes and Docker, such as C{WORKER_PORT=tcp://10.0.0.1:80}.
    """
    found = _set_by_somebody(environ)
    for names in [*_alternatives(role), *({name} for name in getattr(role, "retired", ()))]:
        prefixed = {name: found.pop(PREFIX + name) for name in names if PREFIX + name in found}
        if prefixed:
            for name in names:
                found.pop(name, None)
            found |= prefixed
    return found


def _set_by_somebody(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are neither empty nor service links."""
    return {
        name: text
        for name, text in environ.items()
        if text and not (name.endswith("_PORT") and _SERVICE_LINK.fullmatch(text))
    }


def spelling(role: type, given: Mapping[str, str], environ: Mapping[str, str]) -> Callable[[str], str]:
    """
    Return a function that writes the settings in a sentence by the names that the operator used.

    @param given: what the options say; their names have no prefix.
    @return: adds L{PREFIX} to each name that the environment has with it; text in quotation marks stays.
    """
    there = _set_by_somebody(environ)
    prefixed = {
        name
        for names in [*_alternatives(role), *({name} for name in getattr(role, "retired", ()))]
        for name in names
        if PREFIX + name in there and not names & given.keys()
    }
    if not prefixed:
        return str
    pattern = re.compile(rf"(?<![\w'\"/])(?:{'|'.join(map(re.escape, sorted(prefixed)))})(?![\w'\"/])")
    return lambda sentence: pattern.sub(lambda match: PREFIX + match[0], sentence)


def _alternatives(role: type) -> list[set[str]]:
    """Return the names of each setting of a role, of which one counts."""
    return [{each.name, each.file_name} if each.secret else {each.name} for each in settings_of(role)]


def read(role: type[T], given: Mapping[str, str], environ: Mapping[str, str], siblings: Sequence[type] = ()) -> T:
    """
    Make the settings of a role.

    @param given: what the options say, by environment name; they win over C{environ}.
    @param siblings: roles whose settings may stand in the same environment.
    @raise StartError: with every mistake at once.
    """
    spell = spelling(role, given, environ)
    environ = own_environment(role, environ)
    mistakes = _unread(role, environ, siblings)
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
        mistakes = _together(settings)
    if mistakes:
        raise StartError(*map(spell, mistakes))
    return settings


def reread(settings: T, files: Mapping[str, str]) -> T:
    """
    Settings with the secrets that are in their files now.

    @param files: their paths, by environment name.
    @raise ValueError: in one sentence, where no process would start with them.
    """
    found = {
        each.name: declared.parse(secret_from(files[declared.name], declared.file_name))
        for each in attrs.fields(type(settings))
        if (declared := each.metadata[_KEY]).name in files
    }
    changed = type(settings)(**(attrs.asdict(settings, recurse=False) | found))
    mistakes = _together(changed)
    if mistakes:
        raise ValueError(mistakes[0].rstrip("."))
    return changed


def _together(settings: Any) -> list[str]:
    """What is wrong with values of which each is right by itself."""
    mistakes: list[str] = getattr(settings, "mistakes", list)()
    return mistakes


def _text(declared: Setting, *sources: Mapping[str, str]) -> str | None:
    for source in sources:
        text = source.get(declared.name)
        path = source.get(declared.file_name) if declared.secret else None
        if text is not None and path is not None:
            raise ValueError(f"is set, and {declared.file_name} too; remove one of them")
        if path is not None:
            return secret_from(path, declared.file_name)
        if text is not None:
            # What the system's decoding makes of bytes that are no text could be neither sent nor logged.
            if re.search("[\ud800-\udfff]", text):
                raise ValueError("is not UTF-8 text")
            return text
    return declared.default


def _unread(role: type, environ: Mapping[str, str], siblings: Sequence[type]) -> list[str]:
    """Variables that nobody reads and somebody seems to rely on: a setting that does not count is a trap (S22)."""
    retired: Mapping[str, str] = getattr(role, "retired", {})
    own = _names_of(role)
    known = {*own, *retired}.union(*map(_names_of, siblings))
    mistakes = [f"{name}: {retired[name]}." for name in retired if name in environ]
    for name in sorted(environ.keys() - known - _OF_CONFDCTL):
        prefix, bare = (PREFIX, name[len(PREFIX) :]) if name.startswith(PREFIX) else ("", name)
        if len(bare) >= _SHORTEST and bare not in known and not _PLATFORM_NAME.fullmatch(name):
            for meant in _meant(bare, own, getattr(role, "own_prefix", "")):
                mistakes.append(f"{name}: no such setting; did you mean {prefix}{meant}?")
    return mistakes


def _meant(name: str, own: Sequence[str], own_prefix: str) -> Sequence[str]:
    """
    Return the setting that a variable probably means, or none.

    @param own_prefix: what some put before each setting of this role, as in C{CONTROLLER_DB_PATH}.
    """
    for spelling in (name, name.removeprefix(own_prefix)):
        words = "_".join(_WORDS.get(word, word) for word in spelling.split("_"))
        if words in own:
            return [words]
        if len(spelling) >= _SHORTEST and (alike := [ours for ours in own if _alike(spelling, ours)]):
            return get_close_matches(spelling, alike, 1, 0)
    return []


def _alike(name: str, ours: str) -> bool:
    if name.replace("_", "") == ours.replace("_", ""):
        return True
    words, our_words = name.split("_"), ours.split("_")
    return len(words) == len(our_words) and all(
        word[:1] == our[:1] and (our.startswith(word) or SequenceMatcher(None, word, our).ratio() >= _ALIKE)
        for word, our in zip(words, our_words, strict=True)
    )


# -- twistd --


class RoleOptions(usage.Options):
    """
    The options of a twistd command: those of its role, and nothing else.

    @cvar role: the class of the settings, which L{settings} holds once parsing is over.
    @cvar siblings: see L{read}.
    @ivar effective: the environment with the options over it, for parts that read settings of their own.
    @ivar spell: see L{spelling}.
    @ivar pid_file: the file for the process id, C{None} where C{--pidfile=} asks for none.
    @ivar remarks: what the operator may want to mend, one sentence each.
    """

    role: ClassVar[type]
    siblings: ClassVar[Sequence[type]] = ()
    optParameters: ClassVar[list[list[str | None]]]
    settings: Any
    effective: Mapping[str, str]
    spell: Callable[[str], str]
    pid_file: PidFile | None = None
    remarks: Sequence[str] = ()

    def __init_subclass__(cls) -> None:
        cls.optParameters = [line for declared in settings_of(cls.role) for line in _option_lines(declared)]

    def __init__(self, environ: Mapping[str, str] = os.environ, words: Sequence[str] = sys.argv) -> None:
        """
        @param words: the command line.
        """
        super().__init__()
        self._environ, self._words = environ, words

    def parseArgs(self, *extra: str) -> None:
        """Refuse what is not an option."""
        if extra:
            raise SystemExit(
                f"{extra[0]}: unexpected argument; settings are options or environment variables, see --help"
            )

    def postOptions(self) -> None:
        """
        Read the settings; end the process with one line a mistake, and no traceback.

        Where they need the asyncio reactor and none was named, it is installed here: this is the last moment before
        twistd takes the default one.
        """
        given = {name: self[_option(name)] for name in _names_of(self.role) if self[_option(name)] is not None}
        displaced: set[str] = set().union(*(names for names in _alternatives(self.role) if names & given.keys()))
        environ = own_environment(self.role, self._environ)
        # What is left with the prefix is for plug-ins, which know their settings by their own names.
        others = {
            name.removeprefix(PREFIX): text
            for name, text in environ.items()
            if name.startswith(PREFIX) and name not in _OF_CONFDCTL and not _PLATFORM_NAME.fullmatch(name)
        }
        self.effective = {name: text for name, text in (environ | others).items() if name not in displaced} | given
        self.spell = spelling(self.role, given, self._environ)
        try:
            self.settings = read(self.role, given, self._environ, self.siblings)
        except StartError as error:
            raise SystemExit(str(error)) from None
        files = [each.file_name for each in settings_of(self.role) if each.secret]
        self.remarks = [
            remark for name in files if (path := self.effective.get(name)) for remark in secret_remarks(path, name)
        ]
        if self.parent:
            self.pid_file = take_over(self.parent, self._words)
        if getattr(self.settings, "asyncio", False) and "twisted.internet.reactor" not in sys.modules:
            asyncioreactor.install()


def _option_lines(declared: Setting) -> list[list[str | None]]:
    default = "unset" if declared.default is None else declared.default or '""'
    lines: list[list[str | None]] = [
        [declared.option, None, None, f"{declared.help} ({declared.name}; default: {default})"]
    ]
    if declared.secret:
        lines.append([_option(declared.file_name), None, None, f"A file that holds it ({declared.file_name})"])
    return lines
