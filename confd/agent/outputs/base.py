"""
The set of outputs: applies one configuration to all of them, or to none.

The set looks like a worker to L{confd.agent.worker_sync.WorkerSync}, which keeps delivering the newest configuration
and watching what the set holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from confd.agent.outputs.fights import Fights
from confd.agent.outputs.staged import Staged, ended, replaced_by, second_failure
from confd.errors import ConfdError, Conflict, Unavailable, Unprocessable
from confd.interfaces import IConfirmedChange, IOutput, IWorkerClient, Step
from confd.model import Configuration, Delivered, WorkerState
from confd.runtime.histogram import Histogram

#: Seconds of the longest delay before a failed test, reload or probe is tried again.
RETRY_CAP_SECONDS = 3600.0

#: Codes of failures that depend on the machine, so that another attempt can succeed.
_RETRIED = {"test_failed", "reload_failed", "rollback_failed", "probe_failed"}


class Superseded(Unavailable):
    """A newer configuration arrived before any output changed."""

    def __init__(self) -> None:
        super().__init__("superseded", "A newer configuration arrived.")


@implementer(IWorkerClient)
@define(eq=False)
class OutputSet:
    """
    All outputs of an agent, applied as one.

    @ivar outputs: in the order in which they are committed.
    @ivar worker: the HTTP output, committed after the probes of all others; C{None} without one.
    @ivar settings: identify the outputs; other settings let a rejected configuration be delivered again.
    @ivar splay: returns the seconds to wait before the first commit.
    @ivar retry: seconds before the first repetition of a failed test, reload or probe; 0 repeats none.
    @ivar durations: seconds from the start of an apply until each output was in use.
    """

    log = Logger()

    _clock: IReactorTime
    outputs: Sequence[IOutput]
    worker: IOutput | None = None
    settings: str = ""
    _splay: Callable[[], float] = field(default=lambda: 0.0)
    _retry: float = 60.0
    _applied: Configuration | None = field(default=None, init=False)
    _retries: int = field(default=0, init=False)
    _delay: float = field(default=0.0, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _failed: Configuration | None = field(default=None, init=False)
    _waiting: Deferred[None] | None = field(default=None, init=False)
    _fights: Fights = field(init=False)
    durations: Histogram = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._fights = Fights(self._clock)
        self.durations = Histogram(expected=lambda: [(each.name,) for each in self.outputs])

    # -- IWorkerClient --

    def deliver(self, configuration: Configuration) -> Deferred[Delivered]:
        """
        Apply a configuration to all outputs.

        @raise Unprocessable: if an output rejects it, or its test, reload or probe failed.
        @raise Unavailable: if an output cannot be changed now.
        """
        return Deferred.fromCoroutine(self._guarded(configuration))

    def checksum(self) -> Deferred[str | None]:
        """Fire with the checksum of the applied document if every output holds it, else with an empty text."""
        return Deferred.fromCoroutine(self._checksum())

    def state(self) -> Deferred[WorkerState]:
        """Fire with the state of the set, in the words of a worker."""
        return Deferred.fromCoroutine(self._state())

    # -- the service around it --

    def supersede(self) -> None:
        """End a splay at once: a newer configuration arrived, or the agent stops."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(Superseded())

    def stop(self) -> None:
        """Forget the timers."""
        self.supersede()
        self._cancel_retry()

    # -- state --

    @property
    def _all(self) -> list[IOutput]:
        return [*self.outputs, *([self.worker] if self.worker is not None else [])]

    async def _checksum(self) -> str:
        if self._applied is None:
            return ""
        for output in self._all:
            if not (await output.inspect()).holds:
                return ""
        return self._applied.document.checksum

    async def _state(self) -> WorkerState:
        states = [await output.inspect() for output in self._all]
        generations = "\n".join([self.settings, str(self._retries), *(each.generation for each in states)])
        return WorkerState(
            has_config=self._applied is not None and all(each.holds for each in states),
            version=str(self._applied.tag) if self._applied is not None else None,
            boot_id=hashlib.sha256(generations.encode()).hexdigest()[:32],
            verified=all(each.verified for each in states),
        )

    # -- one apply --

    async def _guarded(self, configuration: Configuration) -> Delivered:
        if self._failed is not configuration:
            self._delay, self._failed = 0.0, None
            self._cancel_retry()
        try:
            await self._apply(configuration)
        except ConfdError as error:
            if error.code in _RETRIED:
                self._failed = configuration
                self._schedule_retry()
            raise
        self._delay, self._failed = 0.0, None
        return Delivered(proven=(await self._state()).verified)

    async def _apply(self, configuration: Configuration) -> None:
        repair = configuration is self._applied
        if repair:
            await self._check_fights()
        began = self._clock.seconds()
        works = await self._stage(configuration)
        await self._wait(works)
        try:
            await self._commit(works)
            await self._run_steps(works, repair)
            await self._deliver_to_worker(configuration, works, repair)
        finally:
            if repair:
                self._fights.repaired([each.output.name for each in works if each.committed])
        for work in works:
            await work.change.finish()
            self.durations.observe(self._clock.seconds() - began, work.output.name)
        self._applied = configuration

    async def _check_fights(self) -> None:
        for output in self.outputs:
            if not (await output.inspect()).holds:
                sentence = self._fights.problem(output.name)
                if sentence is not None:
                    subject = getattr(output, "path", f"the output {output.name}")
                    raise Unavailable("fight", self._worded(output, f"Another process changes {subject}: {sentence}"))

    async def _stage(self, configuration: Configuration) -> list[Staged]:
        works: list[Staged] = []
        for output in self.outputs:
            try:
                change = await output.stage(configuration)
            except (ConfdError, CancelledError) as error:
                await self._discard(works)
                raise self._prefixed(output, error) from None
            if change is not None:
                works.append(Staged(output, change))
        return works

    async def _discard(self, works: Sequence[Staged]) -> None:
        for work in works:
            await work.change.discard()

    async def _wait(self, works: Sequence[Staged]) -> None:
        seconds = self._splay() if works else 0.0
        if seconds <= 0:
            return
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        timer = self._clock.callLater(seconds, waiting.callback, None)
        try:
            await waiting
        except (ConfdError, CancelledError):
            await self._discard(works)
            raise
        finally:
            self._waiting = None
            if timer.active():
                timer.cancel()

    async def _commit(self, works: Sequence[Staged]) -> None:
        for number, work in enumerate(works):
            try:
                await work.change.commit()
            except ConfdError as error:
                await self._discard(works[number + 1 :])
                await self._put_back(works[:number])
                await self._restore(works[:number])
                raise self._prefixed(work.output, error) from None
            work.committed = True

    async def _put_back(self, works: Sequence[Staged]) -> None:
        for work in reversed(works):
            await work.change.roll_back()

    async def _run_steps(self, works: Sequence[Staged], repair: bool) -> None:
        for kind in ("tests", "reloads", "probes"):
            failed = await self._run([each for each in works if getattr(each.change, "owed", True)], kind)
            if failed is None:
                continue
            output, error = failed
            if repair:
                raise self._prefixed(output, error)
            await self._roll_back(works, output, error, reload=kind != "tests")
        await self._confirm(works)

    async def _run(self, works: Sequence[Staged], kind: str) -> tuple[IOutput, ConfdError] | None:
        """Run the distinct steps of a kind, and return the first failure."""
        done: set[tuple[str, ...]] = set()
        for work in works:
            steps: Sequence[Step] = getattr(work.change, kind)
            for step in steps:
                if step.key in done:
                    continue
                done.add(step.key)
                try:
                    await step.run()
                except ConfdError as error:
                    return work.output, error
        return None

    async def _roll_back(self, works: Sequence[Staged], output: IOutput, error: ConfdError, reload: bool) -> None:
        """Put the files back, let the programs use them again, and raise what happened."""
        await self._put_back(works)
        code, sentence = error.code, ended(error.message)
        failed = await self._run(works, "reloads") if reload else None
        if failed is not None:
            code = "rollback_failed"
            sentence += f" {second_failure(works, failed[1])}"
        else:
            if reload:
                await self._confirm(works)
            else:
                await self._restore(works)
            if replaced_by(works):
                sentence += " The previous file is back and in use." if reload else " The previous file is back."
        raise self._prefixed(output, Unprocessable(code, sentence))

    async def _confirm(self, works: Sequence[Staged]) -> None:
        """Let the outputs remember that programs use the installed contents."""
        for work in works:
            if IConfirmedChange.providedBy(work.change):
                await work.change.confirm()

    async def _restore(self, works: Sequence[Staged]) -> None:
        """Let the outputs remember what programs use after a roll-back that no program has noticed."""
        await self._confirm([each for each in works if getattr(each.change, "was_live", False)])

    async def _deliver_to_worker(self, configuration: Configuration, works: Sequence[Staged], repair: bool) -> None:
        worker = self.worker
        if worker is None:
            return
        change = await worker.stage(configuration)
        if change is None:
            return
        try:
            await change.commit()
        except (Unprocessable, Conflict) as error:
            if repair:
                raise self._prefixed(worker, error) from None
            await self._put_back(works)
            code, sentence = error.code, error.message
            failed = await self._run(works, "reloads")
            if failed is None:
                await self._confirm(works)
            else:
                code, sentence = "rollback_failed", f"{ended(sentence)} {second_failure(works, failed[1])}"
            raise self._prefixed(worker, type(error)(code, sentence)) from None
        except ConfdError as error:
            raise self._prefixed(worker, error) from None
        await change.finish()

    def _prefixed(self, output: IOutput, error: BaseException) -> BaseException:
        """Return an error whose sentence names its output if the agent has several."""
        if not isinstance(error, ConfdError) or isinstance(error, Superseded):
            return error
        return type(error)(error.code, self._worded(output, error.message), error.details)

    def _worded(self, output: IOutput, sentence: str) -> str:
        return f"{output.name}: {sentence}" if len(self._all) > 1 else sentence

    # -- repetition --

    def _schedule_retry(self) -> None:
        if not self._retry:
            return
        self._delay = min(self._delay * 2 or self._retry, RETRY_CAP_SECONDS)
        self._cancel_retry()
        self._timer = self._clock.callLater(self._delay, self._count_retry)

    def _count_retry(self) -> None:
        self._retries += 1

    def _cancel_retry(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
