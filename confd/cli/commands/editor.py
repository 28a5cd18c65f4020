"""A document in somebody's editor, and what was written there, which is never lost."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from confd.cli.commands.documents import as_text, parse
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session


def edit(session: Session, document: dict[str, Any], publish: Callable[[dict[str, Any]], bool]) -> None:
    """
    Have a document edited until it can be published, or somebody gives up.

    @param publish: takes what was written, and returns whether the text is of no more use.
    """
    before = as_text(document).encode()
    path = Path(tempfile.mkdtemp(prefix="confdctl-")) / f"{session.namespace}.json"
    path.write_bytes(before)
    published = False
    try:
        published = _until_published(session, path, before, publish)
    finally:
        if published or not _written(path, before):
            path.unlink(missing_ok=True)
            path.parent.rmdir()
        else:
            session.closing_notes.append(
                f"What you wrote is kept in {path}; to go on with it: confdctl set --edit {path}"
            )


def _until_published(session: Session, path: Path, before: bytes, publish: Callable[[dict[str, Any]], bool]) -> bool:
    while True:
        _open_editor(session.environ, path)
        if not _written(path, before):
            session.screen.say("Nothing was edited, so nothing was changed.")
            return True
        try:
            return publish(parse(path.read_bytes(), "What you wrote"))
        except CommandError as failure:
            if failure.status is not Exit.INVALID or not session.interactive:
                raise
            session.screen.fail(failure)
            if not click.confirm("Edit it again?", default=True, err=True):
                raise CommandError(Exit.INVALID, "Nothing was changed.") from None


def _written(path: Path, before: bytes) -> bool:
    """Whether there is anything that would be lost."""
    return path.exists() and path.read_bytes() != before


def _open_editor(environ: Mapping[str, str], path: Path) -> None:
    command = environ.get("VISUAL") or environ.get("EDITOR") or "vi"
    try:
        status = subprocess.run([*shlex.split(command), str(path)], check=False).returncode
    except (OSError, ValueError):
        raise CommandError(Exit.USAGE, f"The editor {command!r} cannot be started; set EDITOR.") from None
    if status:
        raise CommandError(Exit.FAILED, f"The editor {command!r} ended with status {status}; nothing was changed.")
