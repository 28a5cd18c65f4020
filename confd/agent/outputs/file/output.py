"""The FILE output: renders a configuration into a file, and proves that a program uses the file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.agent.outputs.context import BuiltInContext
from confd.agent.outputs.file import formats
from confd.agent.outputs.file.actions import ActionRunner
from confd.agent.outputs.file.change import FileChange
from confd.agent.outputs.file.marker import Entry, Marker
from confd.agent.outputs.file.ownership import Untrusted
from confd.agent.outputs.file.replacement import FileReplacement, FileState, sha_of
from confd.agent.outputs.file.spec import FileSpec
from confd.codec import strict_json
from confd.codec.values import FormatError, RenderError, Value, resolve
from confd.errors import Unavailable, Unprocessable
from confd.interfaces import Action, HealthCheck, IOutput, IStagedChange, OutputState
from confd.model import Configuration, Tag
from confd.runtime.offload import RunInThread
from confd.runtime.problem import Problem

T = TypeVar("T")

#: Seconds between two attempts to write the marker.
MARKER_RETRY_SECONDS = 5.0


def make(context: BuiltInContext) -> FileOutput:
    """Make the output FILE of one file."""
    spec = context.spec
    assert spec is not None
    files = FileReplacement(spec, f"{context.cache_file}.outputs.d")
    return FileOutput(context.clock, context.in_thread, spec, files, context.marker, context.runner)


@implementer(IOutput)
@define(eq=False)
class FileOutput:
    """
    One file of the set.

    @ivar spec: what the operator says of the file.
    """

    log = Logger()

    _clock: IReactorTime
    _in_thread: RunInThread
    spec: FileSpec
    _files: FileReplacement
    marker: Marker
    runner: ActionRunner
    #: What the file should be: content, mode and owners as they were after the last commit.
    _expected: FileState | None = field(default=None, init=False)
    _live: bool = field(default=False, init=False)
    _tag: Tag | None = field(default=None, init=False)
    _unsaved: Entry | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _trouble: Problem = field(init=False)
    _generation: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._generation = hashlib.sha256(repr(self.spec).encode()).hexdigest()
        self._trouble = Problem(f"output {self.spec.name}", self.log)
        if self.spec.in_place:
            sentence = "output {output}: {path} is overwritten in place, which is not atomic"
            self.log.warn(sentence, output=self.spec.name, path=self.spec.path)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def path(self) -> str:
        """The path of the file."""
        return self.spec.path

    @property
    def health(self) -> HealthCheck | None:
        return self.spec.health

    @property
    def words(self) -> bool:
        """Whether reports carry what commands print."""
        return self.spec.report_words

    @property
    def content(self) -> str:
        """What identifies the content of the file; empty before the first apply."""
        return self._expected.sha if self._expected is not None else ""

    @property
    def reload_owed(self) -> bool:
        """Whether no program is known to use the file as it is."""
        return not self._live

    def problem(self) -> str | None:
        return self._trouble.reason

    def stage(self, configuration: Configuration) -> Deferred[IStagedChange | None]:
        return Deferred.fromCoroutine(self._stage(configuration))

    def inspect(self) -> Deferred[OutputState]:
        return Deferred.fromCoroutine(self._inspect())

    # -- staging --

    async def _stage(self, configuration: Configuration) -> IStagedChange | None:
        variables = self._variables(configuration)
        await self._in_thread(self.marker.load)
        content: bytes = await self._in_thread(self._render, configuration)
        sha = sha_of(content)
        found = await self._blocking(self._files.examine)
        entry = self.marker.entry(self.name, self.path)
        live = entry.live == sha if self._unsaved is None else self._unsaved.live == sha
        if self._files.matches(found, sha):
            await self._blocking(self._files.discard)
            leftover = await self._blocking(self._files.has_old) or entry.created
            if live and not leftover:
                self._expected, self._live, self._tag = found, True, configuration.tag
                return None
            return FileChange(self, configuration.tag, found, sha, variables, owed=not live, replaced=leftover)
        await self._blocking(self._files.stage, content)
        await self._check(configuration, variables)
        return FileChange(
            self,
            configuration.tag,
            found,
            sha,
            variables,
            staged=True,
            replaced=found.present,
            was_live=entry.live == found.sha and not await self._blocking(self._files.has_old),
            repair=configuration.tag == self._tag,
        )

    def _render(self, configuration: Configuration) -> bytes:
        spec, tag = self.spec, configuration.tag
        try:
            part = resolve(strict_json.decode(configuration.document.raw), spec.pointer)
            if spec.template is None:
                return self._written(part)
            facts = {
                "version": configuration.version,
                "tag": str(tag),
                "namespace": configuration.namespace,
                "checksum": configuration.document.checksum,
            }
            return spec.template.render(part, facts)
        except Untrusted as error:
            sentence = f"The template {error.path} can be changed by others; nothing was run."
            raise Unprocessable("untrusted", sentence) from None
        except RenderError as error:
            raise Unprocessable("not_rendered", f"Configuration {tag} cannot be rendered: {error}.") from None

    def _written(self, part: Value) -> bytes:
        try:
            return formats.write(self.spec.format, part)
        except FormatError as error:
            raise error.below(self.spec.pointer) from None

    async def _check(self, configuration: Configuration, variables: Mapping[str, str]) -> None:
        spec, staged = self.spec, self._files.staged_path
        if spec.check is None:
            return
        arguments = tuple(each.replace("{path}", staged) for each in spec.check.arguments)
        action = Action(spec.check.kind, arguments)
        try:
            await self.runner.run(self.name, "check", action, variables, spec.timeout, spec.report_words)
        except Unprocessable:
            await self._blocking(self._files.keep_refused)
            raise
        except BaseException:
            await self._blocking(self._files.discard)
            raise

    def _variables(self, configuration: Configuration) -> dict[str, str]:
        return {
            "CONFD_FILE": self.path,
            "CONFD_TAG": str(configuration.tag),
            "CONFD_VERSION": str(configuration.version),
            "CONFD_NAMESPACE": configuration.namespace,
            "CONFD_PREVIOUS_TAG": str(self._tag) if self._tag is not None else "",
        }

    # -- state --

    async def _inspect(self) -> OutputState:
        if self._expected is None:
            return OutputState(False, False, self._generation, present=False)
        found = await self._blocking(self._files.examine, self._expected)
        holds = self._live and self._files.matches(found, self._expected.sha)
        if holds:
            # A file that was touched, or rewritten with the same content, is not read again.
            self._expected = found
        return OutputState(holds, self._verified, self._generation, found.present)

    @property
    def _verified(self) -> bool:
        return self.spec.reload is None or self.spec.reload.proves or self.spec.probe is not None

    async def _blocking(self, work: Callable[..., T], *arguments: object) -> T:
        """Run file work in a thread, and tell an operating system's refusal in one sentence."""
        try:
            return await self._in_thread(work, *arguments)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Unavailable("unwritable", f"{self.path} cannot be written: {reason}.") from None

    # -- what a change does --

    async def commit(self, change: FileChange) -> None:
        """Put a staged change in place; the marker is cleared first."""
        if not change.staged:
            return
        before, was_live = self.marker.entry(self.name, self.path), self._live
        # What the disk says of a file comes before the file: a crash here leaves a reload owed.
        await self._clear_marker(None if change.replaced else True)
        try:
            await self._blocking(self._files.commit, not change.repair)
        except Unavailable:
            await self._blocking(self._files.discard)
            if (await self._blocking(self._files.examine)).sha == change.found.sha:
                self._live = was_live
                await self._remember(before)
            raise
        self._expected = await self._blocking(self._files.examine)

    async def roll_back(self, change: FileChange) -> None:
        """Put the content before a change back."""
        created = self.marker.entry(self.name, self.path).created
        await self._clear_marker(None)
        await self._blocking(self._files.roll_back, created)
        self._expected = await self._blocking(self._files.examine)
        change.rolled_back = True

    async def confirm(self, change: FileChange) -> None:
        """Remember that a program uses the file as it is."""
        self._live = True
        expected = self._expected or change.found
        self._expected = expected
        entry = self.marker.entry(self.name, self.path)
        tag = entry.tag if change.rolled_back else str(change.tag)
        if not change.rolled_back:
            self._tag = change.tag
        created = entry.created and not change.rolled_back
        await self._remember(evolve(entry, live=expected.sha, tag=tag, created=created))

    async def finish(self, change: FileChange) -> None:
        """Drop the copy for a roll-back."""
        await self._blocking(self._files.finish)
        entry = self._unsaved or self.marker.entry(self.name, self.path)
        if entry.created:
            await self._remember(evolve(entry, created=False))

    async def discard(self) -> None:
        """Drop the staged file."""
        await self._blocking(self._files.discard)

    async def _clear_marker(self, created: bool | None) -> None:
        """
        Record that no program is known to use the file.

        @param created: whether the file did not exist before; C{None} leaves that as it is.
        """

        def clear(entry: Entry) -> Entry:
            return evolve(entry, live="", created=entry.created if created is None else created)

        self._live, self._unsaved = False, None
        try:
            await self._in_thread(self.marker.change, self.name, self.path, clear)
        except OSError as error:
            raise Unavailable("unwritable", f"{self.marker.path} cannot be written: {error.strerror}.") from None

    async def _remember(self, entry: Entry) -> None:
        """Write the marker, now or as soon as the disk permits; no command runs again for it."""

        def edit(found: Entry) -> Entry:
            # The health monitor writes the rest.
            return evolve(found, live=entry.live, tag=entry.tag, created=entry.created)

        try:
            await self._in_thread(self.marker.change, self.name, self.path, edit)
        except OSError as error:
            self._unsaved = entry
            self._trouble.begin(f"{self.marker.path} cannot be written: {error.strerror}.")
            self._cancel_timer()
            self._timer = self._clock.callLater(MARKER_RETRY_SECONDS, self._remember_again)
        else:
            self._unsaved = None
            self._trouble.end()

    def _remember_again(self) -> None:
        if self._unsaved is not None:
            Deferred.fromCoroutine(self._remember(self._unsaved))

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def stop(self) -> None:
        """Write the marker no more."""
        self._cancel_timer()
