"""Counts reports: which agent runs which version since when, and the waits for a quorum."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from confd.changes import EXPOSED, REPORTED, RETIRED, REVISION, ROLLOUT, Change, Contents, Published, TakenReport
from confd.codec.selectors import Selector, matches
from confd.controller.agents.registry import Registry
from confd.controller.agents.rows import read_pages
from confd.controller.agents.selection import AGENTS_PER_TURN
from confd.controller.configs.snapshot import CandidateLane, unknown_namespace
from confd.controller.convergence.archive import Archive
from confd.controller.convergence.interfaces import IProgress
from confd.controller.convergence.progress import ConvergenceSummary, LaggingAgent, OpenRollout, Totals
from confd.controller.convergence.settling import Settling
from confd.controller.convergence.summary import Counted, count_agents, with_rollout
from confd.controller.convergence.version import VersionProgress
from confd.controller.interfaces import IResidentStore
from confd.errors import Gone, NotFound
from confd.interfaces import IChangeListener
from confd.model import Tag
from confd.reports import AgentRecord, VersionOutcome
from confd.runtime.signal import Signal
from confd.runtime.waiters import Waiters

#: Seconds between two turns that count for the summary of an old version. A thread of the database waits for the
#: interpreter hundreds of times for a publish: beside a reactor that never sleeps, each wait takes 5 ms.
SETTLING_PAUSE_SECONDS = 0.002

#: Versions of a namespace, the newest, that keep the outcome of each agent; older versions keep a summary.
VERSIONS_KEPT = 16


@implementer(IProgress, IChangeListener)
class Convergence(Service):
    """
    The results of the newest versions of each namespace on each of its agents.

    Memory equals the disk: a report comes here once it is written, so that a restart loses only the times that
    the process of the POST measured.

    @ivar changes: gets C{(namespace,)} when something in the convergence of one of its versions may have changed.
    @ivar applications: gets C{(namespace, progress, took)} when an agent applied a version for the first time, and how
        many milliseconds that took is known.
    """

    def __init__(
        self,
        store: IResidentStore,
        registry: Registry,
        clock: IReactorTime,
        kept: int = VERSIONS_KEPT,
        lane: Callable[[str], CandidateLane | None] = lambda namespace: None,
        per_turn: int = AGENTS_PER_TURN,
        pause: float = SETTLING_PAUSE_SECONDS,
    ) -> None:
        """
        @param kept: versions of a namespace that keep their outcomes.
        @param lane: see L{Snapshot.lane}.
        @param per_turn: agents that are counted in one turn of the reactor.
        @param pause: seconds between two turns for the summary of an old version.
        """
        self._count_agents = partial(count_agents, registry=registry, clock=clock, per_turn=per_turn)
        self._count_slowly = partial(self._count_agents, pause=pause)
        self._lane = lane
        self._store, self._registry, self._clock, self._most = store, registry, clock, kept
        self._versions: dict[str, dict[int, VersionProgress]] = {}
        #: Number of the current version of each namespace; a candidate may be newer.
        self._current: dict[str, int] = {}
        self._waiters: dict[str, Waiters] = {}
        self._archive = Archive(store, clock)
        self._settling = Settling(self._count_settled, self._archive.keep)
        #: What the last counts of each namespace found, by version, until something changes.
        self._counted: dict[str, dict[int, Counted]] = {}
        self.changes, self.applications = Signal(), Signal()
        #: The results of each version that L{load_rows} found; their tags and times are still missing.
        self._read: dict[tuple[str, int], VersionProgress] = {}

    async def load_rows(self) -> None:
        """Read the outcomes of all versions, after the agents; L{load} shows them."""
        self._read.clear()
        await read_pages(self._store.load_outcomes, self._note_read, lambda row: row[:3], ("", 0, ""))

    def _note_read(self, page: Sequence[tuple[str, int, str, VersionOutcome]]) -> None:
        for namespace, version, agent_id, outcome in page:
            read = self._read.get((namespace, version))
            if read is None:
                members = self._registry.read_members(namespace)
                read = self._read[namespace, version] = VersionProgress(Tag("", 0, version), outcome.at, members)
            read.record(agent_id, outcome)

    def load(self, contents: Contents) -> None:
        self._current = {each.configuration.namespace: each.configuration.version for each in contents.revisions}
        self._versions = {
            namespace: {
                each.version.tag.version: self._progress(namespace, each) for each in reversed(versions[: self._most])
            }
            for namespace, versions in contents.versions.items()
        }
        for namespace, lanes in contents.lanes.items():
            if lanes.candidate is not None:
                self._versions[namespace][lanes.candidate.tag.version].converged = True
        for (namespace, version), read in self._read.items():
            progress = self.progress(namespace, version)
            if progress is not None:
                progress.load(read)
        self._read.clear()
        self._counted.clear()
        for namespace in self._versions:
            self._settling.changed(namespace)

    def apply(self, change: Change) -> None:
        if change.kind == REVISION:
            self._current[change.subject] = change.value.version.tag.version
            self._published(change.subject, change.value)
        elif change.kind == ROLLOUT:
            if change.value.candidate is not None:
                self._published(change.subject, Published(change.value.candidate), candidate=True)
            else:
                self._changed(change.subject)
        elif change.kind == EXPOSED:
            self._changed(change.subject)
        elif change.kind == REPORTED:
            self.record(self._registry.reported(change.value))
        elif change.kind == RETIRED:
            self._retired(change.subject)

    def startService(self) -> None:
        super().startService()
        self._archive.startService()

    def stopService(self) -> Deferred[None]:
        """Answer all waits as not reached; fire when all summaries are made and written."""
        super().stopService()
        for waiters in self._waiters.values():
            waiters.give_up()
        return self._settling.finished().addCallback(lambda _: self._archive.stopService())

    def _published(self, namespace: str, published: Published, candidate: bool = False) -> None:
        versions = self._versions.setdefault(namespace, {})
        if published.version.tag.version not in versions:
            progress = versions[published.version.tag.version] = self._progress(namespace, published)
            progress.converged = candidate
            # The base of an open rollout is current, and older than its candidates.
            if len(versions) > self._most and next(iter(versions)) != self._current.get(namespace):
                self._settling.add(namespace, versions.pop(next(iter(versions))))
        self._changed(namespace)

    def _progress(self, namespace: str, published: Published) -> VersionProgress:
        members = self._registry.rows.members_of(namespace)
        return VersionProgress(published.version.tag, published.version.created_at, members)

    def _retired(self, namespace: str) -> None:
        self._versions.pop(namespace, None)
        self._counted.pop(namespace, None)
        self._settling.retire(namespace)
        waiters = self._waiters.pop(namespace, None)
        if waiters is not None:
            waiters.give_up()

    def resolve(self, namespace: str, tag: Tag) -> Tag:
        """
        Return the version that an agent means.

        @param tag: a bare number is taken for the version of this namespace; of a version that is older than those
            that are kept the epoch cannot be known, only that it is none of the later ones.
        @raise NotFound: C{unknown_version}, C{unknown_namespace}.
        """
        versions = self._kept(namespace)
        newest, oldest = next(reversed(versions.values())).tag, next(iter(versions.values())).tag
        known = versions.get(tag.version)
        if not tag.cluster:
            tag = evolve(tag, cluster=newest.cluster, epoch=oldest.epoch if known is None else known.tag.epoch)
        was = tag == known.tag if known else tag.version < oldest.version and tag.epoch <= oldest.epoch
        if tag.cluster != newest.cluster or not was:
            raise _unknown_version(namespace, str(tag))
        return tag

    def record(self, taken: Iterable[TakenReport]) -> None:
        """Show reports that are on disk, and what they make of their versions."""
        touched = set()
        for received, outcome in taken:
            progress = self.progress(received.namespace, received.report.tag.version)
            if progress is not None:
                if progress.record(received.agent_id, outcome):
                    self.applications.notify(received.namespace, progress, outcome.took)
                touched.add(received.namespace)
        for namespace in touched:
            self._changed(namespace)

    def progress(self, namespace: str, version: int) -> VersionProgress | None:
        """Return the progress of a version, C{None} if it is not among the newest."""
        return self._versions.get(namespace, {}).get(version)

    def reports_of(self, record: AgentRecord) -> Iterator[tuple[Tag, VersionOutcome]]:
        """Return the results of the newest versions on one agent, newest first."""
        for progress in reversed(self._versions.get(record.namespace, {}).values()):
            outcome = progress.outcomes.get(record.id)
            if outcome is not None:
                yield progress.tag, outcome

    def totals(self, namespace: str, version: int) -> Deferred[Totals]:
        """L{IProgress.totals}."""
        return Deferred.fromCoroutine(self._totals(namespace, version))

    def summary(self, namespace: str, version: int | None) -> Deferred[ConvergenceSummary]:
        """L{IProgress.summary}."""
        return Deferred.fromCoroutine(self._summary(namespace, version))

    def laggards(self, namespace: str, version: int | None, limit: int) -> Deferred[Sequence[LaggingAgent]]:
        """L{IProgress.laggards}."""
        return Deferred.fromCoroutine(self._laggards(namespace, version, limit))

    def selected(
        self, namespace: str, selector: Selector, limit: int
    ) -> Deferred[tuple[ConvergenceSummary, Sequence[LaggingAgent]]]:
        return Deferred.fromCoroutine(self._selected(namespace, selector, limit))

    def reached(self, namespace: str, tag: Tag, quorum: float, timeout: float) -> Deferred[bool]:
        """L{IProgress.reached}. Each caller may cancel; the others wait on."""
        progress = self.progress(namespace, tag.version)
        if progress is None or progress.tag != tag or not self.running:
            return succeed(False)
        there = progress
        waiters = self._waiters.setdefault(namespace, Waiters(self._clock))
        return waiters.wait(lambda: self._totals_of(namespace, there).reached(quorum), timeout)

    async def _totals(self, namespace: str, version: int) -> Totals:
        progress = self._kept(namespace).get(version)
        if progress is not None:
            return self._totals_of(namespace, progress)
        summary = await self._summary(namespace, version)
        return Totals(summary.targeted, summary.applied, summary.failed, summary.applying)

    def _totals_of(self, namespace: str, progress: VersionProgress) -> Totals:
        applying = len(progress.outcomes) - progress.applied - progress.failed
        return Totals(self._registry.count(namespace), progress.applied, progress.failed, applying)

    async def _summary(self, namespace: str, version: int | None) -> ConvergenceSummary:
        versions = self._kept(namespace)
        newest = next(reversed(versions))
        number = self._current[namespace] if version is None else version
        if number in versions:
            return with_rollout(await self._count(namespace, number), self._rollout(namespace, number))
        if not 0 < number < newest:
            raise _unknown_version(namespace, str(number))
        summary = await self._settling.find(namespace, number) or await self._archive.find(namespace, number)
        if summary is None:
            raise Gone(
                "convergence_pruned", f"The convergence of version {number} of {namespace!r} is no longer stored."
            )
        return summary

    async def _selected(
        self, namespace: str, selector: Selector, limit: int
    ) -> tuple[ConvergenceSummary, Sequence[LaggingAgent]]:
        self._kept(namespace)
        number = self._current[namespace]
        targets, find, labels_of = self._targets(namespace, number), self._registry.get, self._registry.labels.of

        def wanted(agent_id: str) -> bool:
            return (targets is None or targets(agent_id)) and matches(labels_of(find(agent_id)), selector)

        counted = await self._look(namespace, number, wanted)
        return with_rollout(counted, self._rollout(namespace, number)), counted.behind[:limit]

    async def _laggards(self, namespace: str, version: int | None, limit: int) -> Sequence[LaggingAgent]:
        number = self._current.get(namespace) if version is None else version
        if number is None or self.progress(namespace, number) is None:
            return []
        return (await self._count(namespace, number)).behind[:limit]

    async def _count(self, namespace: str, number: int) -> Counted:
        """Count the agents by their results of a version that is among the newest; unless nothing changed since."""
        # An agent may have fallen silent.
        self._registry.liveness(namespace)
        counted = self._counted.setdefault(namespace, {})
        if number not in counted:
            found = await self._look(namespace, number, self._targets(namespace, number))
            # After a change, nothing reads this dictionary any more.
            counted[number] = found
            return found
        return counted[number]

    def _look(self, namespace: str, number: int, wanted: Callable[[str], bool] | None) -> Awaitable[Counted]:
        versions = self._kept(namespace)
        newest = number == next(reversed(versions))
        return self._count_agents(namespace, versions[number], newest, wanted=wanted)

    async def _count_settled(self, namespace: str, progress: VersionProgress) -> ConvergenceSummary:
        # No caller waits for this count, and other counts go on beside it.
        return (await self._count_slowly(namespace, progress, False)).summary

    def _targets(self, namespace: str, version: int) -> Callable[[str], bool] | None:
        """
        Return a test for the agents that a version is for: of a candidate the members, of the current version the
        other agents.

        @return: C{None} for all agents.
        """
        lane = self._lane(namespace)
        if lane is None or version < self._current[namespace]:
            return None
        members = lane.members
        if version > self._current[namespace]:
            return members.__contains__
        return lambda agent_id: agent_id not in members

    def _rollout(self, namespace: str, version: int) -> OpenRollout | None:
        lane = self._lane(namespace)
        if lane is None or version != self._current[namespace]:
            return None
        return OpenRollout(lane.rollout, lane.encoded.configuration.version, len(lane.members))

    def _kept(self, namespace: str) -> dict[int, VersionProgress]:
        versions = self._versions.get(namespace)
        if not versions:
            raise unknown_namespace(namespace)
        return versions

    def agents_changed(self, namespace: str, agent_ids: Iterable[str]) -> None:
        """Note that agents came, changed or left."""
        self._settling.changed(namespace)
        self._changed(namespace)

    def _changed(self, namespace: str) -> None:
        self._counted.pop(namespace, None)
        if namespace in self._waiters:
            self._waiters[namespace].look()
        self.changes.notify(namespace)


def _unknown_version(namespace: str, version: str) -> NotFound:
    return NotFound("unknown_version", f"The namespace {namespace!r} has no version {version}.")
