"""confdctl in the process of a test: real connections, no start of an interpreter."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from click.testing import CliRunner

from confd.cli.main import run
from confd.cli.output import Output
from confd.cli.session import Clock, Session
from confd.cli.transport import Transport
from tests.cli.harness import CommandResult


def confdctl(*words: str, environ: Mapping[str, str], folder: Path, stdin: str = "") -> CommandResult:
    """
    Run a command as a script would.

    A process of its own would cost 0.4 s of processor time, ten times as much. L{tests.integration.test_confdctl} also
    tests the process itself: terminal, signals, pipes and imports.

    @param environ: All variables that the command sees.
    @param folder: The working directory.
    """
    with contextlib.chdir(folder), CliRunner().isolation(input=stdin.encode()) as (out, err, _):
        clock = Clock(partial(datetime.now, UTC), time.monotonic, time.sleep)
        session = Session(Output(sys.stdout, sys.stderr, clock.now), environ, False, Transport, clock, os.execve)
        status = run(session, words)
        sys.stdout.flush()
        sys.stderr.flush()
        return CommandResult(status, out.getvalue().decode(), err.getvalue().decode())
