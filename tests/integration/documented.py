"""Type the commands of a page as a reader does: in order, in a clone; compare their output."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path

from attrs import define, field, frozen

from tests.integration.fleet import ADMIN, PATIENCE, children, clean_environment, eventually, free_port, request

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(r"^\.\. code-block:: console\n\n((?:   .*\n|\n)+)", re.MULTILINE)

#: Commands that run until Ctrl-C, and need a terminal of their own.
_ENDLESS = re.compile(r"make run\b|twistd -n ")

#: Commands that change nothing: they run again until their output settles.
_LOOKING = re.compile(
    r"confdctl (get|status|history|agents|audit|epoch|cluster|doctor|rollout(?! [a-km-z]))\b(?!.* (raise|adopt))"
    r"|curl -s (?!.*-d )"
)

#: The addresses on pages; a test replaces each by a free port.
_PORTS = ("8080", "8082", "8090", "9082", "9092")

#: The parts of a clone that commands need, and do not write to.
_CLONED = ("Makefile", "setup.cfg", "pyproject.toml", "README.rst", ".env.example", "confd", "twisted", "deploy")


@frozen
class Typed:
    """
    A command of a page.

    @ivar shown: Its output, with C{...} for any text; empty if the page shows no output.
    """

    command: str
    shown: str


def typed(page: str) -> Iterator[Typed]:
    """Yield the commands of the C{console} blocks of a page, in order."""
    for block in _BLOCK.findall(page):
        command, shown = "", ""
        for line in (line[3:] for line in block.splitlines()):
            if line.startswith("$ "):
                if command:
                    yield Typed(command, shown)
                command, shown = line[2:], ""
            elif line.startswith("> ") and not shown:
                command += f"\n{line[2:]}"
            else:
                shown += f"{line}\n"
        if command:
            yield Typed(command, shown.rstrip() and shown)


@define(eq=False)
class Reader:
    """
    A reader with an installed clone, who types the commands of a page.

    @ivar folder: The folder of the clone.
    """

    folder: Path
    _environ: dict[str, str] = field(factory=clean_environment, init=False)
    _ports: dict[str, str] = field(factory=lambda: {port: str(free_port()) for port in _PORTS}, init=False)
    _served: list[object] = field(factory=list, init=False)
    _running: list[subprocess.Popen[bytes]] = field(factory=list, init=False)
    _cwd: Path = field(init=False)
    _umask: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._cwd = clone = self.folder / "clone"
        clone.mkdir()
        shutil.copytree(ROOT / "docs", clone / "docs", ignore=shutil.ignore_patterns("_*", "images", "*.cache"))
        for name in _CLONED:
            (clone / name).symlink_to(ROOT / name)
        self._install(clone / ".venv" / "bin")
        controller, worker = self._ports["8080"], self._ports["8082"]
        self._environ |= {
            "HOME": str(self.folder),
            # As on a terminal, which shows each line at once.
            "PYTHONUNBUFFERED": "1",
            "WORKER_PORT": worker,
            "CONFD_URL": f"http://127.0.0.1:{controller}",
            "CONTROLLER_URL": f"http://127.0.0.1:{controller}",
            "WORKER_URL": f"http://127.0.0.1:{worker}",
        }

    def _install(self, where: Path) -> None:
        where.mkdir(parents=True)
        there = Path(sys.executable).parent
        for name in ("python", "python3", "twistd", "trial"):
            (where / name).write_text(f'#!/bin/sh\nexec {shlex.quote(str(there / name))} "$@"\n')
        (where / "confdctl").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m confd.cli "$@"\n')
        for script in where.iterdir():
            script.chmod(0o755)
        (where.parent / "run.stamp").touch()
        self._environ["PATH"] = f"{where}:{self._environ['PATH']}"

    def serve(self, port: str, real: int, server: object) -> None:
        """Let a port on the page mean that of a server; keep the server as long as the reader."""
        self._ports[port] = str(real)
        self._served.append(server)

    def install(self, name: str, command: Sequence[str]) -> None:
        """Install a program that runs a command in this clone."""
        script = self.folder / "clone" / ".venv" / "bin" / name
        script.write_text(f'#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.join(command)} "$@"\n')
        script.chmod(0o755)

    def type(self, step: Typed) -> None:
        """
        Type a command, and compare its output.

        @raise AssertionError: If it fails, or its output differs from the page.
        """
        command, shown = self._here(step.command), self._here(step.shown)
        if _ENDLESS.search(command):
            self._begin(command)
            return
        until = time.monotonic() + (PATIENCE if _LOOKING.match(command) else 0)
        while (wrong := self._try(command, shown)) is not None:
            if time.monotonic() > until:
                raise AssertionError(f"$ {command}\n{wrong}")
            time.sleep(0.1)

    def _here(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(_PORTS)})\b", lambda found: self._ports[found[1]], text)

    def _try(self, command: str, shown: str) -> str | None:
        after = self.folder / "after"
        script = f'{command}\nstatus=$?\n{{ pwd; umask; env -0; }} > "{after}"\nexit $status'
        done = subprocess.run(
            ["bash", "-c", f"{{ {self._umask}{script}\n}} 2>&1"],
            cwd=self._cwd,
            env=self._environ_of(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        if done.returncode:
            return f"ends with status {done.returncode}:\n{done.stdout}"
        cwd, umask, environ = after.read_text().split("\n", 2)
        self._cwd, self._umask = Path(cwd), f"umask {umask}; "
        self._environ = dict(pair.split("=", 1) for pair in environ.split("\0") if pair)
        flags = ELLIPSIS | NORMALIZE_WHITESPACE
        if shown and not OutputChecker().check_output(shown, done.stdout, flags):
            return f"should print\n{shown}and prints\n{done.stdout}"
        return None

    def _environ_of(self, command: str) -> dict[str, str]:
        port = self._ports["8082" if "confd-worker" in command else "8080"]
        return self._environ | {"PORT": port}

    def _begin(self, command: str) -> None:
        log = self.folder / f"terminal-{len(self._running)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self._cwd,
                env=self._environ_of(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._running.append(process)

        # The reader turns to the next terminal after the agent has registered.
        agents = self._agents() + 1 if "confd-agent" in command else 1

        def up() -> bool:
            assert process.poll() is None, f"$ {command}\nended:\n{log.read_text()}"
            return re.search(r"confd-\w+ is up", log.read_text()) is not None and self._agents() >= agents

        eventually(up)

    def _agents(self) -> int:
        answer = request("GET", f"{self._environ['CONFD_URL']}/api/v1/namespaces", auth=ADMIN)
        return sum(each["agents"] for each in answer.json()) if answer.status == 200 else 0

    def leave(self) -> None:
        """End all started processes with Ctrl-C."""
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        for process in self._running:
            try:
                process.wait(PATIENCE)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        for file in self.folder.rglob("*.pid"):
            # Some pages end their processes themselves.
            with contextlib.suppress(OSError, ValueError):
                pid = int(file.read_text())
                for each in (*children(pid), pid):
                    os.kill(each, signal.SIGKILL)
