"""
Declare a setting as a field of an attrs class; such a class holds the settings of a role (L{confd.runtime.settings}).

The metadata of the fields serves parsing, C{--help} and the reference page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

import attrs

V = TypeVar("V")

_KEY = "confd.setting"


@attrs.frozen
class Setting:
    """
    The declaration of one setting.

    @ivar name: of the environment variable.
    @ivar parse: returns the value of a text; raises L{ValueError} with a reason that completes C{NAME: ...}.
    @ivar default: the text to parse if the setting is absent; C{None} leaves the value C{None}.
    @ivar secret: whether the value is never shown, and may come from the file that C{NAME_FILE} names.
    """

    name: str
    parse: Callable[[str], object]
    default: str | None
    help: str
    secret: bool = False

    @property
    def option(self) -> str:
        """The name of the twistd option."""
        return option_name(self.name)

    @property
    def file_name(self) -> str:
        """The variable that names the file of the secret."""
        return f"{self.name}_FILE"


@overload
def setting(name: str, help: str, default: str | None = "", *, secret: bool = False) -> str: ...


@overload
def setting(name: str, help: str, default: str | None, parse: Callable[[str], V], secret: bool = False) -> V: ...


def setting(
    name: str, help: str, default: str | None = "", parse: Callable[[str], object] = str, secret: bool = False
) -> object:
    """Declare a field of a role; see L{Setting}."""
    return attrs.field(metadata={_KEY: Setting(name, parse, default, help, secret)}, repr=not secret)


def setting_of(field: attrs.Attribute[object]) -> Setting:
    """Return the declaration of a field."""
    declared: Setting = field.metadata[_KEY]
    return declared


def settings_of(role: type) -> list[Setting]:
    """Return the settings of a role in the order of declaration."""
    return [setting_of(each) for each in attrs.fields(role)]


def names_of(role: type) -> list[str]:
    """Return every environment variable that a role reads."""
    return [
        name for each in settings_of(role) for name in ([each.name, each.file_name] if each.secret else [each.name])
    ]


def option_name(name: str) -> str:
    """Return the twistd option of an environment variable."""
    return name.lower().replace("_", "-")


def alternatives(role: type) -> list[set[str]]:
    """Return the alternative names of each setting of a role."""
    return [{each.name, each.file_name} if each.secret else {each.name} for each in settings_of(role)]
