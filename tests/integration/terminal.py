"""A terminal with a user: for programs that ask, use colours, and are interrupted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from attrs import define, field

from tests.integration.fleet import PATIENCE

_ROWS = 40

#: Time in which a program ends that noticed Ctrl-C.
_NOTICED = 5.0


@define(eq=False)
class Terminal:
    """
    A program at a terminal of its own; a context manager that ends the program.

    @ivar columns: characters in a line.
    @ivar shown: All output so far.
    """

    _command: Sequence[str]
    _environ: Mapping[str, str]
    columns: int = 120
    shown: str = ""
    _seen: int = 0
    _master: int = field(init=False)
    _child: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Terminal:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, self.columns, 0, 0))
        self._child = subprocess.Popen(
            self._command,
            env={"TERM": "xterm-256color", **self._environ},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # Ctrl-C reaches the program, and it finds the terminal for a password.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # type: ignore[arg-type,return-value]
        )
        os.close(slave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        os.close(self._master)

    def expect(self, text: str) -> None:
        """Wait until the program shows C{text} after the texts expected so far."""
        while text not in self.shown[self._seen :]:
            if not self._read():
                raise AssertionError(f"it ended without {text!r}:\n{self.shown}")
        self._seen = self.shown.index(text, self._seen) + len(text)

    def type(self, text: str) -> None:
        """Type keys."""
        os.write(self._master, text.encode())

    def interrupt(self) -> int:
        """
        Press Ctrl-C; return the status.

        Python may miss Ctrl-C between its check for signals and its wait for keys. Then the next Ctrl-C is noticed, as
        for a user at a keyboard.
        """
        while True:
            self.type("\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._child.wait(_NOTICED)

    def end(self) -> int:
        """Wait until the program ends; return its status."""
        while self._read():
            pass
        return self._child.wait(PATIENCE)

    def _read(self) -> bool:
        deadline = time.monotonic() + PATIENCE
        while not select.select([self._master], [], [], 0.1)[0]:
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing more comes:\n{self.shown}")
        try:
            piece = os.read(self._master, 65536)
        except OSError:
            # The error of Linux once the other end is closed.
            return False
        self.shown += piece.decode("utf-8", "replace")
        return bool(piece)
