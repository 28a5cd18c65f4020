"""Edit a document in the user's editor, and never lose the edited text."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from confd.cli.commands.documents import as_text
from confd.cli.document_files import parse
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session
from confd.codec.strict_json import JsonObject


def edit(session: Session, document: JsonObject, publish: Callable[[JsonObject], bool]) -> None:
    """
    Open a document in the editor until it is published, or the user gives up.

    @param publish: called with the edited document; returns whether the file can be deleted.
    """
    before = as_text(document).encode()
    path = Path(tempfile.mkdtemp(prefix="confdctl-")) / f"{session.namespace}.json"
    path.write_bytes(before)
    published = False
    try:
        published = _until_published(session, path, before, publish)
    finally:
        if published or not _is_edited(path, before):
            path.unlink(missing_ok=True)
            path.parent.rmdir()
        else:
            session.closing_notes.append(f"Your text is kept in {path}; to continue, run: confdctl set --edit {path}")


def _until_published(session: Session, path: Path, before: bytes, publish: Callable[[JsonObject], bool]) -> bool:
    while True:
        _open_editor(session.environ, path)
        if not _is_edited(path, before):
            session.screen.say("The text was not edited. Nothing was changed.")
            return True
        try:
            return publish(parse(path.read_bytes(), "The edited text").value)
        except CommandError as failure:
            if failure.status is not Exit.INVALID or not session.interactive:
                raise
            session.screen.fail(failure)
            if not click.confirm("Edit the text again?", default=True, err=True):
                raise CommandError(Exit.INVALID, "Nothing was changed.") from None


def _is_edited(path: Path, before: bytes) -> bool:
    """Return whether the file holds edited text."""
    return path.exists() and path.read_bytes() != before


def _open_editor(environ: Mapping[str, str], path: Path) -> None:
    command = environ.get("VISUAL") or environ.get("EDITOR") or "vi"
    try:
        status = subprocess.run([*shlex.split(command), str(path)], check=False).returncode
    except (OSError, ValueError):
        raise CommandError(
            Exit.USAGE, f"The editor {command!r} cannot be started; set EDITOR to another program."
        ) from None
    if status:
        raise CommandError(Exit.FAILED, f"The editor {command!r} exited with status {status}. Nothing was changed.")
