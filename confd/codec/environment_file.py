"""Environment variables from a document, and files of them (systemd.exec(5), C{EnvironmentFile=})."""

from __future__ import annotations

import re

from confd.codec.text import pointer_to
from confd.codec.values import CONTROL, SURROGATE, FormatError, Value, as_object, plain_text

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def valid_name(text: str) -> bool:
    """Return whether every shell takes a text as the name of an environment variable."""
    return _NAME.fullmatch(text) is not None


def env_variables(value: Value) -> dict[str, str]:
    """
    Return the environment variables of one flat object, sorted by name.

    @raise FormatError: for a name that no shell takes, a control character, or a value that is no plain one.
    """
    table = as_object(value, "")
    found = {}
    for key in sorted(table):
        here = pointer_to("", key)
        if not valid_name(key):
            raise FormatError(here, "has a name that is no name of an environment variable")
        text = plain_text(table[key], here)
        if CONTROL.search(text) or SURROGATE.search(text):
            raise FormatError(here, "holds a line break or control character, which an environment file cannot express")
        found[key] = text
    return found


def write_env(value: Value) -> str:
    """Return the lines of an environment file: one flat object, quoted as systemd's C{EnvironmentFile} reads it."""
    return "".join(f"{key}={quote_env(text)}\n" for key, text in env_variables(value).items())


def quote_env(text: str) -> str:
    """Return a value in double quotes, with the escapes that systemd and POSIX shells share."""
    return '"' + re.sub(r'(["\\`$])', r"\\\1", text) + '"'
