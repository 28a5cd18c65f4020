"""The command C{backup}: a verified copy of the database of a controller."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click

from confd.cli.api_client import ApiClient
from confd.cli.backup_file import describe_database
from confd.cli.command import Command
from confd.cli.errors import CommandError, Exit
from confd.cli.session import Session, common, pass_session
from confd.cli.transport import Reply
from confd.codec.strict_json import JsonObject
from confd.codec.text import printable
from confd.runtime.atomic_file import sync_folder

#: Longest silence: the controller copies the whole database before it sends the first byte.
_IDLE_SECONDS = 660.0
_CHECKSUM_HEADER = "x-confd-backup-checksum"


@click.command(
    "backup",
    cls=Command,
    short_help="Save a copy of the database of the controller.",
    examples=[
        ("confdctl backup confd-$(date +%F).sqlite3", "save a copy; the file must not exist"),
        ("confdctl backup - | age -r KEY > confd.age", "encrypt the copy on its way"),
    ],
)
@click.argument("file", type=click.Path())
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@common(namespace=False)
@pass_session
def backup(session: Session, file: str, force: bool) -> None:
    """
    Save a consistent copy of the SQLite database to FILE (- writes to standard output).

    FILE gets its name after its checksum and its contents are verified. It holds the private signing keys: keep it as
    secret as a password. The controller sends it over TLS, or to its own machine. To restore, see docs/backup.rst.
    """
    if file == "-":
        _save(session.controller, sys.stdout.buffer.write)
        sys.stdout.buffer.flush()
        return
    target, partial_file = Path(file), Path(f"{file}.partial")
    if target.exists() and not force:
        raise CommandError(Exit.USAGE, f"{file} exists; choose another name, or add --force.")
    try:
        facts = _save_file(session.controller, partial_file, target)
    except OSError as error:
        raise CommandError(Exit.FAILED, f"{partial_file} cannot be written: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            partial_file.unlink()
    session.screen.show({"file": file} | facts, lambda: session.screen.facts([("file", file), *facts.items()]))


def _save_file(controller: ApiClient, partial_file: Path, target: Path) -> JsonObject:
    """Write, verify and rename a copy; return what it holds."""
    with suppress(FileNotFoundError):
        partial_file.unlink()
    number = os.open(partial_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(number, "wb") as out:
        size, checksum = _save(controller, out.write)
        out.flush()
        os.fsync(out.fileno())
    facts = describe_database(partial_file)
    if facts is None:
        raise CommandError(
            Exit.UNSOUND, "The copy is damaged, though it is complete; check the database of the controller."
        )
    os.replace(partial_file, target)
    sync_folder(str(target))
    return {"bytes": size, "checksum": checksum, **facts}


def _save(controller: ApiClient, write: Callable[[bytes], object]) -> tuple[int, str]:
    """
    Write the copy as it arrives; return its size and checksum.

    @raise CommandError: the controller refuses, or the copy is incomplete.
    """
    digest, size, wanted = hashlib.sha256(), 0, ""
    for piece in controller.download("/api/v1/backup", _IDLE_SECONDS):
        if isinstance(piece, Reply):
            wanted = piece.headers.get(_CHECKSUM_HEADER, "")
            continue
        digest.update(piece)
        size += len(piece)
        write(piece)
    checksum = f"sha256:{digest.hexdigest()}"
    if checksum != wanted:
        raise CommandError(
            Exit.UNSOUND, f"The copy has the checksum {checksum}, not {printable(wanted) or 'any'}; try again."
        )
    return size, checksum
