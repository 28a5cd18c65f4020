"""What every output must do, and an output in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from confd.errors import ConfdError, Conflict, Unavailable, Unprocessable
from confd.interfaces import HealthCheck, IOutput, IStagedChange, OutputState, Step
from confd.model import Configuration
from confd.testing.examples import a_configuration


@define(eq=False)
class OutputFixture:
    """
    An output that holds nothing yet, and what a test needs besides.

    @ivar output: its Deferreds fire without a reactor: hand it C{maybeDeferred} in place of threads.
    @ivar content: returns what others read from the output now, C{None} for nothing.
    @ivar spoil: changes the content as another program does.
    @ivar rejected: a configuration that the output rejects, C{None} if it takes any.
    @ivar restart: makes the output again from its durable state, C{None} if the output has none.
    @ivar rolls_back: C{False} for an output that the set commits last, such as HTTP.
    """

    output: IOutput
    content: Callable[[], object]
    spoil: Callable[[], object]
    rejected: Configuration | None = None
    restart: Callable[[], IOutput] | None = None
    rolls_back: bool = True


FIRST, SECOND = a_configuration(1), a_configuration(2)


def make_ioutput_tests(fixture: Callable[[SynchronousTestCase], OutputFixture]) -> type[SynchronousTestCase]:
    """Make the contract of L{IOutput} as tests, for the outputs that C{fixture} makes."""

    class IOutputTests(SynchronousTestCase):
        def setUp(self) -> None:
            self.fixture = fixture(self)
            self.output = self.fixture.output

        def stage(self, configuration: Configuration) -> IStagedChange | None:
            return self.successResultOf(self.output.stage(configuration))

        def staged(self, configuration: Configuration) -> IStagedChange:
            change = self.stage(configuration)
            assert change is not None
            return change

        def run_steps(self, *kinds: Sequence[Step]) -> None:
            for step in (step for steps in kinds for step in steps):
                self.successResultOf(step.run())

        def confirm(self, change: IStagedChange) -> None:
            if hasattr(change, "confirm"):
                self.successResultOf(change.confirm())

        def apply(self, configuration: Configuration) -> None:
            """Apply a configuration as the set does."""
            change = self.stage(configuration)
            if change is None:
                return
            self.successResultOf(change.commit())
            self.run_steps(change.tests, change.reloads, change.probes)
            self.confirm(change)
            self.successResultOf(change.finish())

        async def reach_commit(self, configuration: Configuration) -> object:
            """Stage a configuration; an output that the set commits last may reject it at the commit."""
            change = await self.output.stage(configuration)
            if change is not None and not self.fixture.rolls_back:
                await change.commit()
            return change

        def holds(self) -> bool:
            return self.successResultOf(self.output.inspect()).holds

        def test_interfaces(self) -> None:
            verifyObject(IOutput, self.output)
            self.assertTrue(re.fullmatch("[a-z0-9-]{1,32}", self.output.name), self.output.name)
            self.assertIsInstance(self.output.health, HealthCheck | None)
            self.assertIsNone(self.output.problem())
            verifyObject(IStagedChange, self.staged(FIRST))
            self.assertIsInstance(self.successResultOf(self.output.inspect()), OutputState)

        def test_steps(self) -> None:
            """Each step has a key, and the start of a sentence."""
            change = self.staged(FIRST)
            for step in (*change.tests, *change.reloads, *change.probes):
                self.assertIsInstance(step, Step)
                self.assertTrue(step.key and all(isinstance(each, str) for each in step.key), step)
                self.assertTrue(step.description.startswith("The "), step)

        def test_holds_nothing_before_the_first_commit(self) -> None:
            self.assertFalse(self.holds())
            self.successResultOf(self.staged(FIRST).discard())
            self.assertFalse(self.holds())

        def test_staging_alters_nothing(self) -> None:
            self.apply(FIRST)
            before = self.fixture.content()
            change = self.staged(SECOND)
            self.assertEqual((self.fixture.content(), self.holds()), (before, True))
            self.successResultOf(change.discard())
            self.assertEqual((self.fixture.content(), self.holds()), (before, True))

        def test_staging_again_after_a_discard(self) -> None:
            self.successResultOf(self.staged(FIRST).discard())
            self.apply(FIRST)
            self.assertTrue(self.holds())

        def test_an_applied_configuration_is_held(self) -> None:
            self.apply(FIRST)
            first = self.fixture.content()
            self.assertTrue(self.holds())
            self.apply(SECOND)
            self.assertTrue(self.holds())
            self.assertNotIn(self.fixture.content(), (None, first))

        def test_applying_again_changes_nothing(self) -> None:
            self.apply(FIRST)
            before = self.fixture.content()
            self.apply(FIRST)
            self.assertEqual((self.fixture.content(), self.holds()), (before, True))

        def test_looking_changes_nothing(self) -> None:
            self.apply(FIRST)
            found = [self.successResultOf(self.output.inspect()) for _ in range(3)]
            self.assertEqual(found, [found[0]] * 3)

        def test_a_change_of_another_program_is_seen_and_repaired(self) -> None:
            self.apply(FIRST)
            before = self.fixture.content()
            self.fixture.spoil()
            self.assertFalse(self.holds())
            self.apply(FIRST)
            self.assertEqual((self.fixture.content(), self.holds()), (before, True))

        def test_a_roll_back_restores_the_content(self) -> None:
            if not self.fixture.rolls_back:
                return
            for before in (None, FIRST):
                if before is not None:
                    self.apply(before)
                content = self.fixture.content()
                change = self.staged(SECOND)
                self.successResultOf(change.commit())
                self.successResultOf(change.roll_back())
                self.run_steps(change.reloads)
                self.confirm(change)
                self.assertEqual(self.fixture.content(), content)
            self.assertTrue(self.holds())
            self.apply(SECOND)
            self.assertTrue(self.holds())
            self.assertNotEqual(self.fixture.content(), content)

        def test_a_rejected_configuration_changes_nothing(self) -> None:
            """At the stage, or at the commit of the last output of a set."""
            if self.fixture.rejected is None:
                return
            self.apply(FIRST)
            before = self.fixture.content()
            staging: Deferred[object] = Deferred.fromCoroutine(self.reach_commit(self.fixture.rejected))
            error: ConfdError = self.failureResultOf(staging, Unprocessable, Conflict).value
            self.assertTrue(error.message, "a report needs a sentence")
            self.assertEqual((self.fixture.content(), self.holds()), (before, True))

        def test_a_restart_finds_the_content(self) -> None:
            if self.fixture.restart is None:
                return
            self.apply(FIRST)
            before = self.fixture.content()
            self.output = self.fixture.restart()
            self.apply(FIRST)
            self.assertEqual((self.fixture.content(), self.holds()), (before, True))

        def test_a_crash_after_the_commit_leaves_the_steps_owed(self) -> None:
            if self.fixture.restart is None:
                return
            self.apply(FIRST)
            change = self.staged(SECOND)
            self.successResultOf(change.commit())
            self.output = self.fixture.restart()
            again = self.stage(SECOND)
            if change.reloads or change.probes:
                self.assertIsNotNone(again, "no program is known to use the change")
            if again is not None:
                self.successResultOf(again.discard())
            self.apply(SECOND)
            self.assertTrue(self.holds())

    return IOutputTests


@implementer(IOutput)
@define(eq=False)
class MemoryOutput:
    """
    An output in memory, with a program that uses the content after a reload.

    @ivar content: the document as others read it, C{None} before the first.
    @ivar in_use: the document that the program uses.
    @ivar refuses: versions that the output rejects.
    @ivar away: why the output cannot be changed now, empty if it can.
    @ivar broken: why the reload fails, empty if it works.
    """

    name: str = "memory"
    health: HealthCheck | None = None
    content: bytes | None = None
    in_use: bytes | None = None
    refuses: set[int] = field(factory=set)
    away: str = ""
    broken: str = ""
    _committed: bytes | None = field(default=None, init=False)

    def problem(self) -> str | None:
        return self.away or None

    def stage(self, configuration: Configuration) -> Deferred[IStagedChange | None]:
        if self.away:
            return fail(Unavailable("unwritable", self.away))
        if configuration.version in self.refuses:
            return fail(Unprocessable("refused", f"The output {self.name} refuses {configuration.tag}."))
        document = configuration.document.raw
        if document == self.content == self.in_use:
            self._committed = document
            return succeed(None)
        return succeed(MemoryChange(self, document, self.content))

    def inspect(self) -> Deferred[OutputState]:
        holds = self.content is not None and self.content == self.in_use == self._committed
        return succeed(OutputState(holds, present=self.content is not None))

    def put(self, content: bytes | None) -> Deferred[None]:
        """Replace the content."""
        self.content = self._committed = content
        return succeed(None)

    def reload(self) -> Deferred[None]:
        """Let the program use the content."""
        if self.broken:
            return fail(Unprocessable("reload_failed", self.broken))
        self.in_use = self.content
        return succeed(None)


@implementer(IStagedChange)
@define(eq=False)
class MemoryChange:
    """A change of a L{MemoryOutput}."""

    _output: MemoryOutput
    _content: bytes
    _before: bytes | None
    tests: Sequence[Step] = ()
    probes: Sequence[Step] = ()

    @property
    def reloads(self) -> Sequence[Step]:
        name = self._output.name
        return (Step(("reload", name), f"The reload of {name}", self._output.reload),)

    def commit(self) -> Deferred[None]:
        return self._output.put(self._content)

    def roll_back(self) -> Deferred[None]:
        return self._output.put(self._before)

    def finish(self) -> Deferred[None]:
        return succeed(None)

    def discard(self) -> Deferred[None]:
        return succeed(None)
