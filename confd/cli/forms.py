"""The forms of a result: what C{-o} takes, and the value for scripts in each of them."""

from __future__ import annotations

from collections.abc import Collection

import click
from attrs import frozen
from click.shell_completion import CompletionItem

from confd.cli.errors import CommandError, Exit
from confd.cli.json_path import JsonPath
from confd.cli.text import as_json, as_yaml
from confd.codec.strict_json import JsonValue
from confd.codec.text import printable
from confd.codec.toml_writer import write_toml
from confd.codec.values import FormatError

_JSON_PATH = "jsonpath="

#: The forms of every command; C{wide} is a table with every column and whole values.
COMMON_FORMS = ("table", "wide", "json", "yaml", _JSON_PATH)
#: The form of commands that print a list.
LIST_FORMS = (*COMMON_FORMS, "csv")
#: The forms of commands that print a document.
DOCUMENT_FORMS = (*COMMON_FORMS, "toml", "value")
#: The forms of all commands together.
ALL_FORMS = (*LIST_FORMS, "toml", "value")


@frozen
class Form:
    """
    A form of a result.

    @ivar name: one of the forms above, without a path.
    @ivar path: the path of C{jsonpath=}.
    """

    name: str = "table"
    path: JsonPath | None = None

    @property
    def for_people(self) -> bool:
        """Whether a command prints tables and sentences."""
        return self.name in ("table", "wide")

    def write(self, value: JsonValue, one_line: bool = False) -> str:
        """
        Return a value in this form.

        @param one_line: whether it is one of many: JSON without line breaks.
        @raise CommandError: TOML cannot hold it.
        """
        if self.path is not None:
            return "\n".join(map(_plain, self.path.find(value)))
        if self.name == "yaml":
            return f"---\n{as_yaml(value)}" if one_line else as_yaml(value)
        if self.name == "value":
            return _plain(value)
        if self.name == "toml":
            return _toml(value)
        return as_json(value, indent=None if one_line else 2)


#: The form without C{-o}.
TABLE = Form()


def _plain(value: JsonValue) -> str:
    """Return a string without quotes, and JSON of other values on one line."""
    return value if isinstance(value, str) else as_json(value, indent=None)


def _toml(value: JsonValue) -> str:
    try:
        return write_toml(value).removesuffix("\n")
    except FormatError as error:
        raise CommandError(Exit.INVALID, f"TOML cannot hold this: {error}; use -o yaml or -o json.") from None


class FormType(click.ParamType):
    """
    The values of C{-o}.

    @ivar forms: the forms that a command takes.
    """

    name = "form"

    def __init__(self, forms: Collection[str] = ALL_FORMS) -> None:
        self.forms = forms

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the names of the forms, for the help."""
        return f"[{'|'.join(each + 'PATH' if each == _JSON_PATH else each for each in self.forms)}]"

    def convert(self, value: str | Form, param: click.Parameter | None, ctx: click.Context | None) -> Form:
        """Return the form of a word on the command line."""
        if isinstance(value, Form):
            return value
        if value.startswith(_JSON_PATH):
            try:
                return Form("jsonpath", JsonPath(value.removeprefix(_JSON_PATH)))
            except ValueError as error:
                self.fail(f"{error}.", param, ctx)
        if value not in self.forms or value == _JSON_PATH:
            self.fail(self.refusal(value), param, ctx)
        return Form(value)

    def refusal(self, name: str) -> str:
        """Return the sentence about a form that a command does not take."""
        if name in ALL_FORMS:
            return f"{name} is no form of this command; use {', '.join(self.forms)}."
        return f"{printable(name)!r} is no form; use {', '.join(self.forms)}."

    def takes(self, form: Form) -> bool:
        """Return whether a command takes a form."""
        return form.path is not None or form.name in self.forms

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the forms that begin as the user typed."""
        return [CompletionItem(each) for each in self.forms if each.startswith(incomplete)]
