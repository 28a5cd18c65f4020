"""Versions whose outcomes become a summary."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from confd.controller.convergence.progress import ConvergenceSummary
from confd.controller.convergence.summary import repeat
from confd.controller.convergence.version import VersionProgress


@define(eq=False)
class Settling:
    """
    Counts the agents of versions that are no longer among the newest, one version after the other.

    A publish does not wait for the count. A summary has the outcomes that came before the publish which took the
    version from memory, and each agent as of the turn that looks at it.
    """

    log = Logger()

    #: Returns the summary of a version that is not current.
    _count: Callable[[str, VersionProgress], Awaitable[ConvergenceSummary]]
    _keep: Callable[[ConvergenceSummary], None]
    _waiting: dict[tuple[str, int], VersionProgress] = field(factory=dict, init=False)
    _asked: dict[tuple[str, int], list[Deferred[ConvergenceSummary | None]]] = field(factory=dict, init=False)
    #: The last summary of a namespace, where it is of a version without reports and no agent changed since its count
    #: began: frequent publishes need no look at each agent. C{None} during the count.
    _unreported: dict[str, ConvergenceSummary | None] = field(factory=dict, init=False)
    _busy: Deferred[None] | None = field(default=None, init=False)

    def add(self, namespace: str, progress: VersionProgress) -> None:
        """Count the agents of a version; those of a small fleet are counted at once."""
        self._waiting[namespace, progress.tag.version] = progress
        if self._busy is None:
            self._busy = Deferred()
            Deferred.fromCoroutine(self._run())

    def find(self, namespace: str, version: int) -> Deferred[ConvergenceSummary | None]:
        """Fire with the summary of a version once it is made; with C{None} for a version that does not wait."""
        if (namespace, version) not in self._waiting:
            return succeed(None)
        answer: Deferred[ConvergenceSummary | None] = Deferred()
        self._asked.setdefault((namespace, version), []).append(answer)
        return answer

    def changed(self, namespace: str) -> None:
        """Note that an agent of a namespace came, changed or left."""
        self._unreported.pop(namespace, None)

    def retire(self, namespace: str) -> None:
        """Forget the versions of a namespace."""
        self._unreported.pop(namespace, None)
        for key in [key for key in self._waiting if key[0] == namespace]:
            self._finish(key, None)

    def finished(self) -> Deferred[None]:
        """Fire once no version waits."""
        if self._busy is None:
            return succeed(None)
        answer: Deferred[None] = Deferred()
        self._busy.addBoth(answer.callback)
        return answer

    async def _run(self) -> None:
        while self._waiting:
            key, progress = next(iter(self._waiting.items()))
            summary = None
            try:
                summary = await self._summarize(key[0], progress)
            except Exception:
                self.log.failure("cannot count the agents for the summary of version {version}", version=progress.tag)
            if self._waiting.get(key) is progress:
                self._finish(key, summary)
        busy, self._busy = self._busy, None
        if busy is not None:
            busy.callback(None)

    async def _summarize(self, namespace: str, progress: VersionProgress) -> ConvergenceSummary:
        last = self._unreported.pop(namespace, None)
        reported = bool(progress.outcomes)
        if last is not None and not reported:
            summary = repeat(last, progress)
            self._unreported[namespace] = summary
            return summary
        self._unreported[namespace] = None
        summary = await self._count(namespace, progress)
        if namespace in self._unreported and not reported:
            self._unreported[namespace] = summary
        else:
            self._unreported.pop(namespace, None)
        return summary

    def _finish(self, key: tuple[str, int], summary: ConvergenceSummary | None) -> None:
        del self._waiting[key]
        if summary is not None:
            self._keep(summary)
        for answer in self._asked.pop(key, ()):
            answer.callback(summary)
