"""A state machine over the set of outputs: any publishes, faults, edits, crashes and restarts."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from zope.interface import implementer

from confd.agent.outputs.file.formats import write_json
from confd.agent.outputs.file.output import FileOutput
from confd.agent.outputs.file.replacement import FileReplacement
from confd.errors import ConfdError, Unavailable, Unprocessable
from confd.interfaces import Action, IOutput, OutputState
from confd.model import Configuration
from tests.agent.outputs.machine import Machine, command, configuration


class Crash(BaseException):
    """The agent was killed."""


class Programs:
    """Programs that read their file when they are reloaded; some documents do not pass."""

    def __init__(self) -> None:
        self.use: dict[str, str | None] = {}
        self.files: dict[str, str] = {}
        self.broken_reload = False
        self.crash: Callable[[], None] = lambda: None

    def run(
        self, output: str, kind: str, action: Action, variables: Mapping[str, str], timeout: float, words: bool = True
    ) -> Deferred[None]:
        """Run one step."""
        self.crash()
        content = _content(Path(self.files[output]))
        if kind == "check":
            content = _content(Path(action.arguments[1]))
        if kind == "reload" and self.broken_reload:
            return fail(Unprocessable("reload_failed", "The reload failed."))
        # Steps are shared: one program reads all files.
        read = [content] if kind == "check" else [_content(Path(each)) for each in self.files.values()]
        if any(each is not None and f"bad {kind}" in each for each in read):
            return fail(Unprocessable(f"{kind}_failed", f"The {kind} failed."))
        if kind == "reload":
            self.use = {name: _content(Path(path)) for name, path in self.files.items()}
        self.crash()
        return succeed(None)

    def probe(
        self, output: str, action: Action, variables: Mapping[str, str], timeout: float, within: float, words: bool
    ) -> Deferred[None]:
        """Run the probe once."""
        return self.run(output, "probe", action, variables, timeout)


@implementer(IOutput)
class Worker:
    """An HTTP output in memory."""

    name, health = "http", None

    def __init__(self) -> None:
        self.mood = "well"
        self.document: bytes | None = None

    def problem(self) -> str | None:
        """Return nothing: the set asks the files only."""
        return None

    def inspect(self) -> Deferred[OutputState]:
        """Fire with the state."""
        return succeed(OutputState(self.document is not None))

    def stage(self, configuration: Configuration) -> Deferred[Any]:
        """Prepare a delivery."""
        self.staged = configuration.document.raw
        return succeed(self)

    def commit(self) -> Deferred[None]:
        """Deliver."""
        if self.mood == "away":
            return fail(Unavailable("worker_unreachable", "The worker is away."))
        if self.mood == "refuses":
            return fail(Unprocessable("refused", "The worker refuses."))
        self.document = self.staged
        return succeed(None)

    def finish(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)


def _content(path: Path) -> str | None:
    return path.read_text() if path.is_file() and not path.is_symlink() else None


VALUES = st.sampled_from(["a", "b"] * 4 + ["bad check", "bad test", "bad reload", "bad probe"])


class SetMachine(RuleBasedStateMachine):
    """The invariants of section 14 of the design."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="confd-")
        self.machine = Machine(f"{self.folder}/m")
        self.programs = Programs()
        self.worker = Worker()
        self.version = 0
        self.countdown: int | None = None
        self.wanted: Configuration | None = None
        self.renderings: dict[str, set[str]] = {}
        self.machine.in_thread = self.in_thread
        self.programs.crash = self.step

    def teardown(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.folder)

    @initialize(count=st.integers(1, 2), http=st.booleans())
    def begin(self, count: int, http: bool) -> None:
        """Choose the outputs."""
        steps = {each: command(f"/{each}") for each in ("test", "reload", "probe")}
        for number in range(count):
            # The first file follows a part of the document only.
            pointer = ("", "/part")[number]
            self.machine.add(f"{number}.json", check=command("/check", "{path}"), pointer=pointer, **steps)
        if http:
            self.machine.worker = self.worker
        self.restart()

    def step(self) -> None:
        """Crash here, if it is time."""
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                self.countdown = None
                raise Crash

    def in_thread(self, work: Callable[..., Any], *rest: Any) -> Deferred[Any]:
        """Run file work, and crash before or after it."""
        self.step()
        running = maybeDeferred(work, *rest)
        self.step()
        return running

    def restart(self) -> None:
        """Start an agent on what is on disk."""
        machine = self.machine
        self.set = machine.start()
        for number, output in enumerate(machine.outputs):
            spec = machine.specs[number]
            output.runner = self.programs  # type: ignore[assignment]
            self.programs.files[spec.name] = spec.path
            assert isinstance(output, FileOutput) and isinstance(output._files, FileReplacement)

    def deliver(self) -> None:
        """Let the agent apply the wanted configuration once, and judge what it says."""
        wanted = self.wanted
        assert wanted is not None
        results: list[Any] = []
        self.set.deliver(wanted).addBoth(results.append)
        self.countdown = None
        (result,) = results
        if result is None:
            self.judge_success(wanted)
        elif result.check(Crash):
            self.restart()
        else:
            assert isinstance(result.value, ConfdError), result
            self.judge_failure(result.value)

    def judge_success(self, wanted: Configuration) -> None:
        """Everything is in place, and in use."""
        for number, spec in enumerate(self.machine.specs):
            content = _content(Path(spec.path))
            assert content == self.rendering(number, wanted), (content, wanted)
            assert Path(spec.path).stat().st_mode & 0o777 == 0o600
            assert self.programs.use.get(spec.name) == content, "applied without a reload"
        if self.machine.worker is not None:
            assert self.worker.document == wanted.document.raw
        leftovers = [each for each in self.machine.names() if each.startswith(".confd")]
        assert not leftovers, leftovers

    def judge_failure(self, error: ConfdError) -> None:
        """After a failure of the document, programs use the files that are there."""
        if isinstance(error, Unavailable) or error.code == "rollback_failed" or self.repairing:
            return
        for spec in self.machine.specs:
            content = _content(Path(spec.path))
            if content is not None and self.programs.use.get(spec.name) is not None and spec.name in self.settled:
                assert self.programs.use[spec.name] == content, error

    def rendering(self, number: int, wanted: Configuration) -> str:
        """Return what a file should contain."""
        document = json.loads(wanted.document.raw)
        return write_json(document if number == 0 else document["part"])

    @property
    def repairing(self) -> bool:
        """Whether the set repairs what it has applied."""
        return self.wanted is self.set._applied

    @rule(whole=VALUES, part=VALUES)
    def publish(self, whole: str, part: str) -> None:
        """Publish a new version."""
        self.version += 1
        self.wanted = configuration(self.version, {"whole": whole, "part": {"p": part}})
        for number, spec in enumerate(self.machine.specs):
            self.renderings.setdefault(spec.name, set()).add(self.rendering(number, self.wanted))
        self.settle()
        self.deliver()

    @rule(at=st.integers(0, 40))
    def crash_during(self, at: int) -> None:
        """Kill the agent while it applies, and start it again."""
        if self.wanted is not None:
            self.settle()
            self.countdown = at
            self.deliver()

    @rule()
    def again(self) -> None:
        """Apply once more, as after a pause."""
        if self.wanted is not None:
            self.machine.clock.advance(4000)
            self.settle()
            self.deliver()

    @rule(number=st.integers(0, 1), kind=st.sampled_from(["edit", "chmod", "delete", "link"]))
    def spoil(self, number: int, kind: str) -> None:
        """Change a file as another tool does."""
        if number >= len(self.machine.specs):
            return
        path = Path(self.machine.specs[number].path)
        if not path.exists() or path.is_symlink():
            return
        if kind == "edit":
            path.write_text("edited")
            self.renderings[self.machine.specs[number].name].add("edited")
        elif kind == "chmod":
            path.chmod(0o640)
        else:
            path.unlink()
            if kind == "link":
                path.symlink_to("/nowhere")

    @rule(mood=st.sampled_from(["well", "away", "refuses"]))
    def worker_mood(self, mood: str) -> None:
        """Change what the worker does."""
        self.worker.mood = mood

    @rule(broken=st.booleans())
    def reload_breaks(self, broken: bool) -> None:
        """Break or mend the reload command."""
        self.programs.broken_reload = broken

    @rule()
    def kill(self) -> None:
        """Restart an idle agent."""
        self.restart()

    def settle(self) -> None:
        """Remember which programs used their files before an apply."""
        self.settled = {
            spec.name
            for spec in self.machine.specs
            if self.programs.use.get(spec.name) == _content(Path(spec.path)) is not None
        }

    @invariant()
    def files_are_whole(self) -> None:
        """Each file is one whole rendering, or what somebody else wrote."""
        for spec in self.machine.specs:
            content = _content(Path(spec.path))
            assert content is None or content in self.renderings.get(spec.name, set()), content


SetStateTests = SetMachine.TestCase
SetStateTests.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
