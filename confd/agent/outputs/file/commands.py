"""
Commands that an operator names: how each one runs, ends, and is reported.

A command never gets a shell, the agent's credentials or its file descriptors. Its output goes to a temporary file
without a name, so that a process that outlives the command holds no pipe open.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Final

from attrs import define, field, frozen

#: Bytes of output that are kept while a command runs, and the last ones that a report carries.
KEPT_OUTPUT_BYTES: Final = 64 * 1024
REPORTED_OUTPUT_BYTES: Final = 700

#: Seconds between two looks at the size of the output of a running command.
_LOOK_SECONDS = 0.2

#: The search path where the agent's environment has none.
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_LIBC: Final = ctypes.CDLL(None)

#: C{FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE} of fallocate(2).
_PUNCH_HOLE: Final = 3

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


@frozen
class CommandResult:
    """
    How a command ended.

    @ivar status: exit status; negative for the number of the signal that ended the command; C{None} where it did not
        end in time or did not start.
    @ivar words: the last part of the output, without control characters.
    @ivar problem: why it did not start, C{None} if it did.
    """

    status: int | None
    words: str = ""
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the command ended with status 0."""
        return self.status == 0

    def sentence(self, subject: str, timeout: float, words: bool = True) -> str:
        """
        Return one sentence that says how the command failed.

        @param subject: kind and name of the command, such as C{The check /usr/sbin/nginx}.
        @param timeout: seconds that the command had.
        @param words: whether to add what the command printed.
        """
        if self.problem is not None:
            return f"{subject} cannot be started: {self.problem}."
        said = f" {self.words}" if words and self.words else ""
        if self.status is None:
            return f"{subject} did not end within {timeout:g} s and was killed.{said}"
        if self.status < 0:
            return f"{subject} was ended by signal {-self.status}.{said}"
        return f"{subject} ended with status {self.status}{':' if said else '.'}{said}"


@define(eq=False)
class CommandRun:
    """
    One run of a command.

    L{run} blocks and belongs in a thread; L{kill} may be called from any other thread.

    @ivar arguments: the program and its arguments.
    @ivar environment: the whole environment of the command.
    @ivar timeout: seconds until its process group is killed.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    timeout: float
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _killed: bool = field(default=False, init=False)

    def run(self) -> CommandResult:
        """Run the command and wait for its end."""
        with tempfile.TemporaryFile(buffering=0) as output:
            try:
                self._start(output)
            except (OSError, ValueError) as error:
                return CommandResult(None, problem=getattr(error, "strerror", None) or str(error))
            status = self._wait(output)
            return CommandResult(status, printable_words(_tail(output)))

    def kill(self) -> None:
        """Kill the process group of the command, now or as soon as the command starts."""
        with self._lock:
            self._killed = True
            # A child that has been waited for has no group that is ours.
            if self._child is not None and self._child.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._child.pid, signal.SIGKILL)

    def _start(self, output: IO[bytes]) -> None:
        child = subprocess.Popen(
            list(self.arguments),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(self.environment),
            cwd="/",
            start_new_session=True,
            umask=0o077,
            close_fds=True,
            restore_signals=True,
        )
        with self._lock:
            self._child = child
            killed = self._killed
        if killed:
            self.kill()

    def _wait(self, output: IO[bytes]) -> int | None:
        child = self._child
        assert child is not None
        deadline = time.monotonic() + self.timeout
        while True:
            left = deadline - time.monotonic()
            try:
                # The lock keeps a kill from a pid that is no longer ours.
                child.wait(max(0.0, min(_LOOK_SECONDS, left)))
            except subprocess.TimeoutExpired:
                forget(output)
                if left <= 0:
                    self.kill()
                    child.wait()
                    return None
                continue
            return None if self._killed else child.returncode


def environment(environ: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """
    Return the environment of a command: C{PATH}, C{LANG} and the variables of confd, and no credentials.

    @param environ: of the agent.
    @param variables: those whose names begin with C{CONFD_}.
    """
    return {"PATH": environ.get("PATH") or DEFAULT_PATH, "LANG": environ.get("LANG") or "C.UTF-8", **variables}


def split_command(text: str) -> tuple[str, ...]:
    """
    Return the words of a command line, by the quoting rules of a POSIX shell.

    @raise ValueError: with what is wrong.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        raise ValueError("holds a quotation mark without its partner") from None
    if not words:
        raise ValueError("is empty")
    if "\0" in text:
        raise ValueError("holds a NUL character")
    return words


def printable_words(raw: bytes) -> str:
    """Return the last L{REPORTED_OUTPUT_BYTES} of an output as one line of text without control characters."""
    text = raw[-REPORTED_OUTPUT_BYTES:].decode("utf-8", "replace")
    return " ".join(_CONTROL.sub(" ", text).split())


def forget(output: IO[bytes]) -> None:
    """
    Free the disk space of an output that grows beyond twice L{KEPT_OUTPUT_BYTES}, but for the last part.

    Offsets stay: what the command writes meanwhile is neither lost nor moved, as it would be by a shorter file.
    """
    size = os.fstat(output.fileno()).st_size
    if size > 2 * KEPT_OUTPUT_BYTES:
        before = size - KEPT_OUTPUT_BYTES
        if _LIBC.fallocate(output.fileno(), _PUNCH_HOLE, ctypes.c_int64(0), ctypes.c_int64(before)) != 0:
            _shorten(output, size)


def _shorten(output: IO[bytes], size: int) -> None:
    """Do the same on a file system without holes."""
    kept = os.pread(output.fileno(), KEPT_OUTPUT_BYTES, size - KEPT_OUTPUT_BYTES)
    os.ftruncate(output.fileno(), 0)
    os.lseek(output.fileno(), 0, os.SEEK_SET)
    os.write(output.fileno(), kept)


def _tail(output: IO[bytes]) -> bytes:
    size = os.fstat(output.fileno()).st_size
    return os.pread(output.fileno(), KEPT_OUTPUT_BYTES, max(0, size - KEPT_OUTPUT_BYTES))
