"""What C{confdctl login} and C{confdctl context use} keep, in files beside the profiles."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path

from confd.cli.errors import CommandError, Exit
from confd.codec.text import printable
from confd.runtime.atomic_file import replace_file

_MAX_BYTES = 65_536


def context_file(config: Path) -> Path:
    """
    Return the path of the file with the name of the chosen profile.

    @param config: the file with profiles.
    """
    return config.with_name("context")


def token_file(config: Path) -> Path:
    """
    Return the path of the file with the tokens of C{confdctl login}.

    @param config: the file with profiles.
    """
    return config.with_name("tokens.json")


def read_context(config: Path) -> str | None:
    """Return the name of the profile that C{confdctl context use} chose; C{None} without one."""
    raw = _read(context_file(config))
    return raw.decode("utf-8", "replace").strip() or None


def read_tokens(config: Path) -> tuple[Mapping[str, str], str | None]:
    """
    Return the tokens by the address of their controller, and a warning if other users may read them.

    @raise CommandError: the file is damaged.
    """
    path = token_file(config)
    raw = _read(path)
    if not raw:
        return {}, None
    try:
        found = json.loads(raw)
        if not (isinstance(found, dict) and all(isinstance(each, str) for each in found.values())):
            raise ValueError
    except ValueError:
        raise CommandError(Exit.USAGE, f"{path}: is damaged; remove it, and run confdctl login again.") from None
    shared = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return found, f"{path}: is open to other users of this machine; run chmod 600 {path}." if shared else None


def write_tokens(config: Path, tokens: Mapping[str, str]) -> Path:
    """Replace the file with the tokens, readable for its owner only; return its path."""
    path = token_file(config)
    _write(path, json.dumps(tokens, indent=2) + "\n")
    return path


def write_context(config: Path, name: str) -> None:
    """Keep the name of the chosen profile."""
    _write(context_file(config), f"{name}\n")


def _read(path: Path) -> bytes:
    """Return the bytes of a file; none if it does not exist."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise CommandError(Exit.USAGE, f"{path}: cannot be read: {error.strerror}.") from None


def _write(path: Path, text: str) -> None:
    """Replace a file with mode 600 in one step."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(str(path), text.encode())
    except OSError as error:
        raise CommandError(Exit.FAILED, f"{path}: cannot be written: {printable(error.strerror)}.") from None
