"""The entry point, which alone reads the environment, the terminal and the clock."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import click

import confd
from confd.cli.app import COMPLETE_VARIABLE, NAME, cli
from confd.cli.errors import CommandError, Exit
from confd.cli.output import Output
from confd.cli.session import Clock, Session
from confd.cli.transport import Transport
from confd.codec.text import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command of the command line.

    @param arguments: words behind the name of the program; C{None} for those of the process.
    @return: the exit status of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            # A character that the terminal cannot encode must not fail the command.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    clock = Clock(partial(datetime.now, UTC), time.monotonic, time.sleep)
    screen = Output(sys.stdout, sys.stderr, clock.now)
    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    session = Session(screen, os.environ, interactive, Transport, clock, _execute, _browse)
    try:
        status = run(session, sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except OSError as error:
        # Otherwise the rest of the buffer fails again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return Exit.BROKEN_PIPE
        screen.say(f"{NAME}: {error}.")
        return Exit.FAILED
    return status


def run(session: Session, arguments: Sequence[str]) -> Exit:
    """
    Run a command in a session, and print its error.

    @param arguments: words behind the name of the program.
    """
    status = Exit.OK
    try:
        _check_words(arguments)
        cli.main(arguments, NAME, COMPLETE_VARIABLE, standalone_mode=False, obj=session)
    except CommandError as failure:
        session.screen.fail(failure)
        status = failure.status
    except click.ClickException as error:
        error.show()
        status = Exit.USAGE
    except (LookupError, TypeError, AttributeError) as error:
        session.screen.say(
            f"{NAME}: {NAME} {confd.__version__} does not understand the answer of the controller"
            f" ({type(error).__name__}: {printable(error)}); compare the releases with {NAME} doctor."
        )
        status = Exit.FAILED
    except (click.Abort, KeyboardInterrupt):
        session.screen.say("")
        status = Exit.INTERRUPTED
    for sentence in session.closing_notes:
        session.screen.say(sentence)
    return status


def _execute(path: str, arguments: tuple[str, ...], environ: Mapping[str, str]) -> None:
    """Replace this process by a program."""
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores the signal, and the program would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(path, arguments, environ)


def _browse(url: str) -> bool:
    """Show a URL in a browser; return whether one could be started."""
    import webbrowser

    return webbrowser.open(url)


def _check_words(arguments: Sequence[str]) -> None:
    try:
        "".join(arguments).encode()
    except UnicodeEncodeError:
        raise CommandError(
            Exit.USAGE, "The command line is not UTF-8 text; check the locale of the terminal."
        ) from None
