"""The outputs of confd pass the suite that ships for outputs of others."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.http import HttpOutput
from confd.interfaces import IOutput
from confd.testing import MemoryOutput, OutputFixture, a_configuration, make_ioutput_tests
from tests.agent.fakes import FakeWorker
from tests.agent.outputs.machine import Machine, command


def memory(test: SynchronousTestCase) -> OutputFixture:
    output = MemoryOutput(refuses={9})

    def restart() -> IOutput:
        return MemoryOutput(content=output.content, in_use=output.in_use)

    return OutputFixture(output, lambda: output.content, lambda: output.put(b"other"), a_configuration(9), restart)


def _file(case: SynchronousTestCase, **fields: Any) -> OutputFixture:
    machine = Machine(case.mktemp())
    machine.add("x-toml", file="x.toml", format="toml", **fields)
    path = machine.files / "x.toml"

    def restart() -> IOutput:
        machine.start()
        return machine.outputs[0]

    def content() -> str | None:
        return path.read_text() if path.is_file() else None

    return OutputFixture(restart(), content, lambda: path.write_text("other"), a_configuration(9, {"a": None}), restart)


def file_without_steps(test: SynchronousTestCase) -> OutputFixture:
    return _file(test)


def file_with_steps(test: SynchronousTestCase) -> OutputFixture:
    machine = Machine(test.mktemp())
    steps = {each: command(machine.script(each)) for each in ("test", "reload", "probe")}
    return _file(test, check=command(machine.script("check"), "{path}"), **steps)


def file_in_place(test: SynchronousTestCase) -> OutputFixture:
    return _file(test, in_place=True)


def http(test: SynchronousTestCase) -> OutputFixture:
    worker = FakeWorker(refuses={9})

    def spoil() -> None:
        worker.current, worker.boot_id = None, "boot-2"

    def content() -> bytes | None:
        return worker.current.document.raw if worker.current is not None else None

    return OutputFixture(
        HttpOutput(worker), content, spoil, a_configuration(9), lambda: HttpOutput(worker), rolls_back=False
    )


class MemoryOutputTests(make_ioutput_tests(memory)):  # type: ignore[misc]
    """L{MemoryOutput} is an L{IOutput}."""


class FileOutputTests(make_ioutput_tests(file_without_steps)):  # type: ignore[misc]
    """A file without steps is an L{IOutput}."""


class FileWithStepsTests(make_ioutput_tests(file_with_steps)):  # type: ignore[misc]
    """A file with every step is an L{IOutput}."""


class FileInPlaceTests(make_ioutput_tests(file_in_place)):  # type: ignore[misc]
    """A file that is overwritten is an L{IOutput}."""


class HttpOutputTests(make_ioutput_tests(http)):  # type: ignore[misc]
    """The worker is an L{IOutput}."""
