"""A machine for tests of file outputs: a folder, commands that record what they see, and the set of outputs."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from confd.agent.outputs.base import OutputSet
from confd.agent.outputs.file.actions import ActionRunner
from confd.agent.outputs.file.marker import Marker
from confd.agent.outputs.file.output import FileOutput
from confd.agent.outputs.file.replacement import FileReplacement
from confd.agent.outputs.file.spec import FileSpec
from confd.codec import strict_json
from confd.interfaces import Action, IOutput
from confd.model import Configuration

CLUSTER = "1a2b3c4d-0000-4000-8000-000000000000"


def configuration(version: int, value: object) -> Configuration:
    """Return a version of the default namespace."""
    document = strict_json.document(value)
    return Configuration(CLUSTER, 1, version, "default", document, 30, datetime(2026, 1, 1, tzinfo=UTC))


def command(*arguments: str) -> Action:
    """Return the action of a command."""
    return Action("command", arguments)


class Machine:
    """
    Files, a log of the commands that ran, and an agent's set of outputs, which a restart builds again.

    @ivar in_thread: runs blocking work; tests replace it to crash at one step.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).absolute()
        self.folder.mkdir(mode=0o755)
        self.files = self.folder / "etc"
        self.files.mkdir(mode=0o755)
        self.log = self.folder / "log"
        self.clock = Clock()
        self.specs: list[FileSpec] = []
        self.worker: IOutput | None = None
        self.in_thread: Callable[..., Deferred[Any]] = maybeDeferred
        self.retry = 60.0
        self.splay = 0.0

    def script(self, name: str, body: str = "exit 0") -> str:
        """Make a program that logs its name and the content of the file, and then does C{body}."""
        path = self.folder / name
        path.write_text(
            f'#!/bin/sh\necho "{name} $(cat "$CONFD_FILE" 2>/dev/null | tr -d "\\n ")" >> {self.log}\n{body}\n'
        )
        path.chmod(0o755)
        return str(path)

    def add(self, name: str, **fields: Any) -> FileSpec:
        """Add a file output."""
        spec = FileSpec(name, str(self.files / fields.pop("file", name)), **fields)
        self.specs.append(spec)
        return spec

    def start(self) -> OutputSet:
        """Start an agent: build its set from what is on disk."""
        self.marker = Marker(str(self.folder / "cache.outputs"))
        self.marker.load()
        self.runner = ActionRunner(self.clock, lambda work, *rest: self.in_thread(work, *rest), os.environ)
        self.outputs = [
            FileOutput(
                self.clock,
                lambda work, *rest: self.in_thread(work, *rest),
                spec,
                FileReplacement(spec, str(self.folder / "cache.outputs.d")),
                self.marker,
                self.runner,
            )
            for spec in self.specs
        ]
        self.set = OutputSet(self.clock, self.outputs, self.worker, "", lambda: self.splay, self.retry)
        return self.set

    def change(self, number: int, **fields: Any) -> None:
        """Change what the operator says of a file."""
        self.specs[number] = evolve(self.specs[number], **fields)

    def ran(self) -> list[str]:
        """Return what ran since the last call."""
        found = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return found

    def text(self, name: str) -> str:
        """Return the content of a file without blanks."""
        return "".join((self.files / name).read_text().split())

    def names(self) -> list[str]:
        """Return the names in the folder of the files."""
        return sorted(os.listdir(self.files))
