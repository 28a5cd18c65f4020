"""A staged change of one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from confd.agent.outputs.file.replacement import FileState
from confd.interfaces import Action, IConfirmedChange, Step
from confd.model import Tag

if TYPE_CHECKING:
    from confd.agent.outputs.file.output import FileOutput


@implementer(IConfirmedChange)
@define(eq=False)
class FileChange:
    """
    A change of one file.

    @ivar found: what was at the path when the change was staged.
    @ivar sha: of the rendering.
    @ivar staged: whether a file is staged, so that the commit replaces one.
    @ivar owed: whether the steps have to run.
    @ivar replaced: whether a roll-back puts content back.
    @ivar was_live: whether a program used the content before the change.
    @ivar repair: whether the change restores what the output has applied already.
    """

    _output: FileOutput
    tag: Tag
    found: FileState
    sha: str
    _variables: Mapping[str, str]
    staged: bool = False
    owed: bool = True
    replaced: bool = False
    was_live: bool = False
    repair: bool = False
    rolled_back: bool = field(default=False, init=False)

    @property
    def tests(self) -> Sequence[Step]:
        return self._steps("test", self._output.spec.test)

    @property
    def reloads(self) -> Sequence[Step]:
        return self._steps("reload", self._output.spec.reload)

    @property
    def probes(self) -> Sequence[Step]:
        output, spec = self._output, self._output.spec
        if spec.probe is None:
            return ()
        probe = spec.probe

        def run() -> Deferred[None]:
            return output.runner.probe(
                output.name, probe, self._variables, spec.timeout, spec.probe_within, spec.report_words
            )

        return (Step(("probe", probe.kind, *probe.arguments), f"The probe {probe.subject}", run),)

    def _steps(self, kind: str, action: Action | None) -> Sequence[Step]:
        if action is None:
            return ()
        output, spec = self._output, self._output.spec

        def run() -> Deferred[None]:
            return output.runner.run(output.name, kind, action, self._variables, spec.timeout, spec.report_words)

        return (Step((kind, action.kind, *action.arguments), f"The {kind} {action.subject}", run),)

    def commit(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._output.commit(self))

    def roll_back(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._output.roll_back(self))

    def confirm(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._output.confirm(self))

    def finish(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._output.finish(self))

    def discard(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._output.discard())
