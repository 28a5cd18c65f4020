"""Ring the doorbell of a rollout: a hint by the brokers for agents that are served the candidate from now on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from confd.changes import EXPOSED, ROLLOUT, Change, Contents
from confd.codec.doorbell import Doorbell, sign
from confd.codec.labels import own_labels
from confd.codec.ranks import rank
from confd.codec.selectors import matches, parse_selector
from confd.codec.signing import SigningKey
from confd.controller.agents.registry import Registry
from confd.controller.configs.herd import HerdBudget
from confd.controller.configs.identity import ClusterIdentity
from confd.controller.configs.snapshot import CandidateLane, Snapshot
from confd.controller.interfaces import IRolloutStore
from confd.controller.rollouts.picking import salt_of
from confd.errors import ConfdError, Malformed
from confd.interfaces import IBroker, IChangeListener
from confd.model import Registration
from confd.rollouts.rollout import Member, Rollout
from confd.runtime.offload import RunInThread

#: Seconds until all controllers of a database have applied a change: the longest pause between two reads of it, and a
#: margin.
FEED_LAG_SECONDS = 0.5


@implementer(IChangeListener)
@define(eq=False)
class DoorbellRinger:
    """
    Rings when the feed shows that a wave or a batch has exposed agents, or that they have another candidate.

    It comes behind the snapshot among the listeners, so that an agent that follows the doorbell is served the
    candidate. A broker that takes no doorbell delays the agents until their next poll, and nothing else.

    Each of several controllers rings, and agents ignore repetitions. So that each of them serves the candidate by then,
    all wait for C{lag} seconds first.
    """

    log = Logger()

    _store: IRolloutStore
    _snapshot: Snapshot
    _registry: Registry
    _identity: ClusterIdentity
    _herd: HerdBudget
    _brokers: Sequence[IBroker]
    _in_thread: RunInThread
    _clock: IReactorTime
    _lag: float = 0.0
    #: Namespaces that are looked at, and whether they changed since.
    _looking: dict[str, bool] = field(factory=dict, init=False)
    #: By namespace, what the last doorbell was for.
    _rung: dict[str, object] = field(factory=dict, init=False)
    _refusals: dict[str, str] = field(factory=dict, init=False)

    def load(self, contents: Contents) -> None:
        # A crash may have come between a commit and its doorbell.
        for namespace in contents.lanes:
            self._look(namespace)

    def apply(self, change: Change) -> None:
        if change.kind in (ROLLOUT, EXPOSED):
            self._look(change.subject)

    def _look(self, namespace: str) -> None:
        if not self._brokers:
            return
        if self._snapshot.lane(namespace) is None:
            self._rung.pop(namespace, None)
        elif namespace in self._looking:
            self._looking[namespace] = True
        else:
            self._looking[namespace] = False
            Deferred.fromCoroutine(self._ring(namespace)).addErrback(self._failed).addCallback(
                lambda _: self._looked(namespace)
            )

    def _looked(self, namespace: str) -> None:
        if self._looking.pop(namespace):
            self._look(namespace)

    def _failed(self, failure: Failure) -> None:
        self.log.failure("a doorbell failed", failure)

    async def _ring(self, namespace: str) -> None:
        lane = self._snapshot.lane(namespace)
        if lane is None:
            return
        try:
            rollout, members = await self._store.rollout(lane.rollout)
        except ConfdError as error:
            self.log.info("{namespace}: no doorbell: {reason}", namespace=namespace, reason=error.message)
            return
        picked = [each for each in members if each.how == "picked" and not each.gone]
        # All members have to fetch a candidate that replaces another one.
        newest = [each for each in picked if each.wave == rollout.wave] or picked
        occasion = (rollout.id, rollout.candidate, rollout.wave, frozenset(each.agent_id for each in newest))
        if not newest or not rollout.open or rollout.in_last_wave or self._rung.get(namespace) == occasion:
            return
        self._rung[namespace] = occasion
        message = await self._in_thread(
            _made, rollout, newest, self._labels(rollout, newest), self._doorbell(rollout, lane, len(newest)),
            self._identity.keys()[0],
        )  # fmt: skip
        if self._lag:
            await deferLater(self._clock, self._lag)
        for broker in self._brokers:
            try:
                await broker.ring(namespace, message)
            except ConfdError as error:
                if self._refusals.get(broker.name) != error.message:
                    self._refusals[broker.name] = error.message
                    self.log.info("{reason} Agents learn of the rollout at their next poll.", reason=error.message)

    def _doorbell(self, rollout: Rollout, lane: CandidateLane, members: int) -> Doorbell:
        return Doorbell(
            "rollout",
            rollout.namespace,
            self._identity.current().cluster_id,
            rollout.id,
            rollout.step,
            "0",
            salt_of(rollout.plan, rollout.namespace, rollout.id),
            "",
            self._herd.spread_ms(members, len(lane.encoded.body)),
        )

    def _labels(self, rollout: Rollout, members: Sequence[Member]) -> Sequence[Mapping[str, str]]:
        """Return the labels that members know of themselves; none if the wave selects no labels."""
        if not _select(rollout):
            return []
        records = [self._registry.find(each.agent_id) for each in members]
        return [
            own_labels(Registration(each.hostname, each.metadata, each.id, each.strategy)) for each in records if each
        ]


def _select(rollout: Rollout) -> str:
    wave = rollout.plan.wave(rollout.wave)
    return ",".join(filter(None, (rollout.plan.select, wave.select)))


def _made(
    rollout: Rollout,
    members: Sequence[Member],
    labels: Sequence[Mapping[str, str]],
    doorbell: Doorbell,
    key: SigningKey,
) -> bytes:
    """Return the signed doorbell for members with these own labels."""
    cut = max(rank(doorbell.salt, each.agent_id) for each in members)
    made = msgspec.structs.replace(doorbell, cut=str(cut), select=_common(_select(rollout), labels))
    return sign(made, key)


def _common(select: str, labels: Sequence[Mapping[str, str]]) -> str:
    """Return a selector if all agents match it by their own labels; else the empty one, which every agent matches."""
    try:
        selector = parse_selector(select)
    except Malformed:
        # Two selectors may exceed together what one may have.
        return ""
    return select if all(matches(each, selector) for each in labels) else ""
