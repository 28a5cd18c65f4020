"""
Read the settings of a role from environment variables and twistd options into one frozen value.

One L{StartError} reports all mistakes of a start.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

import attrs
from twisted.python import usage

from confd.errors import StartError
from confd.runtime.environment import (
    CONFDCTL_NAMES,
    PLATFORM_NAME,
    PREFIX,
    find_mistaken_names,
    own_environment,
    spelling,
)
from confd.runtime.pid_file import PidFile, take_over
from confd.runtime.setting import Setting, alternatives, names_of, option_name, setting_of, settings_of
from confd.runtime.setting_types import secret_from, secret_remarks
from confd.runtime.tls_on_demand import leave_out_tls

T = TypeVar("T", bound=attrs.AttrsInstance)


def read(
    role: type[T], given: Mapping[str, str], environ: Mapping[str, str], siblings: Callable[[], Sequence[type]] = tuple
) -> T:
    """
    Return the settings of a role.

    @param given: texts of the options, by environment name; they take precedence over C{environ}.
    @param siblings: returns the roles whose settings may be in the same environment; called for an unclear name.
    @raise StartError: with one reason for each mistake.
    """
    spell = spelling(role, given, environ)
    environ = own_environment(role, environ)
    mistakes = find_mistaken_names(role, environ, siblings)
    values = {}
    for each in attrs.fields(role):
        declared = setting_of(each)
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
    Return the settings with the secrets that their files hold now.

    @param files: paths of the secrets, by environment name.
    @raise ValueError: if a process could not start with these secrets, in one sentence.
    """
    found = {
        each.name: declared.parse(secret_from(files[declared.name], declared.file_name))
        for each in attrs.fields(type(settings))
        if (declared := setting_of(each)).name in files
    }
    changed = type(settings)(**(attrs.asdict(settings, recurse=False) | found))
    mistakes = _together(changed)
    if mistakes:
        raise ValueError(mistakes[0].rstrip("."))
    return changed


def _together(settings: object) -> list[str]:
    """Return a sentence for each contradiction between settings that are valid one by one."""
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
            # Python decodes other bytes to surrogates, which can be neither sent nor logged.
            if re.search("[\ud800-\udfff]", text):
                raise ValueError("is not UTF-8 text")
            return text
    return declared.default


class RoleOptions(usage.Options, Generic[T]):
    """
    The options of a twistd command: one for each setting of its role.

    @cvar role: the class of L{settings}.
    @cvar siblings: see L{read}.
    @ivar settings: the settings, once the options are parsed.
    @ivar effective: the environment, overridden by the options, for plug-ins that read settings of their own.
    @ivar spell: see L{spelling}.
    @ivar pid_file: the file for the process id; C{None} if C{--pidfile=} disables it.
    @ivar remarks: warnings for the operator, one sentence each.
    """

    longdesc = (
        "Each option can also be set as the environment variable in parentheses. The option takes precedence, and a"
        " variable named CONFD_ and the same name takes precedence over the variable."
    )

    role: type[T]
    siblings: ClassVar[Callable[[], Sequence[type]]] = tuple
    optParameters: ClassVar[list[list[str | None]]]
    settings: T
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
        """
        Refuse arguments that are not options.

        @raise SystemExit: if any are present.
        """
        if extra:
            raise SystemExit(
                f"{extra[0]}: unexpected argument; settings are options or environment variables, see --help"
            )

    def postOptions(self) -> None:
        """
        Read the settings, and install the asyncio reactor if they need it and C{--reactor} named no other.

        A role whose settings name no TLS leaves it out of Twisted.

        twistd installs the default reactor directly after this.

        @raise SystemExit: if the settings are invalid, with one line for each mistake.
        """
        given = {name: self[option_name(name)] for name in names_of(self.role) if self[option_name(name)] is not None}
        displaced: set[str] = set().union(*(names for names in alternatives(self.role) if names & given.keys()))
        environ = own_environment(self.role, self._environ)
        # The remaining variables with the prefix are for plug-ins, which read their settings by the bare name.
        others = {
            name.removeprefix(PREFIX): text
            for name, text in environ.items()
            if name.startswith(PREFIX) and name not in CONFDCTL_NAMES and not PLATFORM_NAME.fullmatch(name)
        }
        self.effective = {name: text for name, text in (environ | others).items() if name not in displaced} | given
        self.spell = spelling(self.role, given, self._environ)
        try:
            self.settings = read(self.role, given, self._environ, type(self).siblings)
        except StartError as error:
            raise SystemExit(str(error)) from None
        files = [each.file_name for each in settings_of(self.role) if each.secret]
        self.remarks = [
            remark for name in files if (path := self.effective.get(name)) for remark in secret_remarks(path, name)
        ]
        if self.parent:
            self.pid_file = take_over(self.parent, self._words)
        if not getattr(self.settings, "tls", True):
            leave_out_tls(getattr(self.role, "tls_optional", ()))
        if getattr(self.settings, "asyncio", False) and "twisted.internet.reactor" not in sys.modules:
            from twisted.internet import asyncioreactor

            asyncioreactor.install()


def _option_lines(declared: Setting) -> list[list[str | None]]:
    default = "unset" if declared.default is None else declared.default or '""'
    lines: list[list[str | None]] = [
        [declared.option, None, None, f"{declared.help} ({declared.name}; default: {default})"]
    ]
    if declared.secret:
        lines.append(
            [option_name(declared.file_name), None, None, f"File that contains {declared.name}. ({declared.file_name})"]
        )
    return lines
