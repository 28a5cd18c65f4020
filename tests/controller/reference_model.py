"""What a controller has to answer after everything that happened to it, computed without a database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import define, evolve, field, frozen

from confd.codec import strict_json
from confd.controller.convergence.tracker import VERSIONS_KEPT
from confd.model import DEFAULT_NAMESPACE, Tag

#: A refusal by its code, or C{None} where there is none.
Refusal = str | None

#: After so many sleeps an agent expires that neither polled nor reported.
SLEEPS_TO_EXPIRE = 4

STATES = ("applied", "failed", "applying", "silent", "pending", "passed")


@frozen
class VersionModel:
    """A version of a namespace."""

    tag: Tag
    document: dict[str, Any]
    poll_interval: int
    comment: str = ""
    rollback_of: int | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """What the history says of it, but for author and time."""
        states = {
            "version": self.tag.version,
            "epoch": self.tag.epoch,
            "tag": str(self.tag),
            "comment": self.comment,
            "checksum": strict_json.checksum(self.document),
            "poll_interval_seconds": self.poll_interval,
        }
        return states if self.rollback_of is None else states | {"rollback_of": self.rollback_of}


@frozen
class LastReport:
    """What an agent reported last."""

    tag: Tag
    state: str
    error: str = ""
    holds: Tag | None = None

    @property
    def order(self) -> tuple[int, int]:
        return self.tag.epoch, self.tag.version

    @property
    def running(self) -> Tag | None:
        return self.tag if self.state == "applied" else self.holds


@define
class Member:
    """
    An agent.

    @ivar polled: whether it ever did.
    @ivar slept: how often the model slept since it registered, or since the process started.
    @ivar in_use: whether its token counts as used lately, as after a start for an agent that was ever heard of.
    """

    namespace: str
    said: LastReport | None = None
    silent: bool = False
    polled: bool = False
    slept: int = 0
    in_use: bool = False

    @property
    def expired(self) -> bool:
        """Whether it registered, and gave no sign of life for too long."""
        return self.said is None and not self.polled and self.slept >= SLEEPS_TO_EXPIRE

    def shown(self, agent_id: str) -> dict[str, Any]:
        """What the list of agents says of it, but for times."""
        said = self.said
        has = said and said.running
        return {
            "id": agent_id,
            "namespace": self.namespace,
            "state": "silent" if self.silent else said and said.state,
            "applied_version": has.version if said and has and has.cluster == said.tag.cluster else None,
            "applied_tag": str(has) if has else None,
            "error": (said and said.error) or None,
        }


@define
class NamespaceModel:
    """
    A namespace.

    @ivar lines: all versions that ever were, the first one first.
    @ivar pruned: up to which they are given up.
    @ivar keys: the requests that came with an idempotency key, and the version that each made.
    @ivar known: the versions of which the controller has each agent's outcome in memory.
    @ivar outcomes: of the versions that it has on disk.
    @ivar archive: what became of those before.
    """

    lines: list[VersionModel]
    retired: bool = False
    pruned: int = 0
    keys: dict[str, tuple[Any, int]] = field(factory=dict)
    known: list[int] = field(factory=list)
    outcomes: dict[int, dict[str, str]] = field(factory=dict)
    archive: dict[int, dict[str, int]] = field(factory=dict)

    @property
    def newest(self) -> VersionModel:
        return self.lines[-1]

    def past(self, version: int) -> VersionModel | str:
        """A version, or why it cannot be had."""
        if 0 < version <= self.pruned:
            return "version_pruned"
        return self.lines[version - 1] if 0 < version <= len(self.lines) else "unknown_version"

    def prune(self, keep: int) -> None:
        if keep:
            self.pruned = max(self.pruned, len(self.lines) - keep)


@define
class ReferenceModel:
    """
    A controller in the mind.

    @ivar audit: action, target and outcome of each attempt, the oldest first.
    """

    cluster_id: str
    spaces: dict[str, NamespaceModel]
    epoch: int = 1
    keep: int = 0
    members: dict[str, Member] = field(factory=dict)
    audit: list[tuple[str, str, str]] = field(factory=list)

    @property
    def in_use(self) -> dict[str, NamespaceModel]:
        return {name: space for name, space in sorted(self.spaces.items()) if not space.retired}

    def space(self, name: str) -> NamespaceModel | None:
        """A namespace that is in use."""
        return self.in_use.get(name)

    def append(
        self, name: str, document: dict[str, Any], poll_interval: int, comment: str, of: int | None
    ) -> VersionModel:
        """The next version of a namespace."""
        space = self.spaces.setdefault(name, NamespaceModel([]))
        tag = Tag(self.cluster_id[:8], self.epoch, len(space.lines) + 1)
        line = VersionModel(tag, document, poll_interval, comment, of)
        space.lines.append(line)
        space.known.append(tag.version)
        if len(space.known) > VERSIONS_KEPT:
            oldest = space.known.pop(0)
            space.archive[oldest] = self.counts(name, oldest)
            space.outcomes = {version: states for version, states in space.outcomes.items() if version > oldest}
        return line

    def publish(
        self,
        name: str,
        document: dict[str, Any],
        poll_interval: int | None = None,
        comment: str = "",
        of: int | None = None,
        key: str | None = None,
        expected: str | None = None,
        dry_run: bool = False,
    ) -> VersionModel | str:
        """The version that comes of it, or the code of its refusal."""
        space = self.space(name)
        if space is None:
            return "unknown_namespace"
        request = (document, poll_interval, comment, of)
        if key in space.keys and not dry_run:
            first, version = space.keys[key]
            return space.past(version) if first == request else "idempotency_key_reused"
        if expected not in (None, "*", str(space.newest.tag)):
            return "version_mismatch"
        seconds = poll_interval or space.newest.poll_interval
        if dry_run:
            return VersionModel(
                evolve(space.newest.tag, epoch=self.epoch, version=len(space.lines) + 1), document, seconds
            )
        made = self.append(name, document, seconds, comment, of)
        space.prune(self.keep)
        if key is not None:
            space.keys[key] = request, made.tag.version
        return made

    def create(self, name: str, document: dict[str, Any]) -> VersionModel | str:
        """Version 1 of a namespace, or the next one of a retired one."""
        if self.space(name) is not None:
            return "namespace_exists"
        if name in self.spaces:
            self.spaces[name].retired = False
        return self.append(name, document, self.spaces[DEFAULT_NAMESPACE].newest.poll_interval, "", None)

    def retire(self, name: str) -> Refusal:
        space = self.space(name)
        if space is None:
            return "unknown_namespace"
        if name == DEFAULT_NAMESPACE:
            return "default_namespace"
        if any(not member.silent for _, member in self.of(name)):
            return "namespace_in_use"
        space.retired, space.keys, space.known = True, {}, []
        return None

    def rename(self, epoch: int, cluster_id: str | None, comment: str) -> Refusal:
        if cluster_id == self.cluster_id:
            return "same_cluster"
        if epoch <= self.epoch:
            return "epoch_not_higher"
        self.cluster_id, self.epoch = cluster_id or self.cluster_id, epoch
        for name, space in self.in_use.items():
            self.append(name, space.newest.document, space.newest.poll_interval, comment, None)
            space.prune(self.keep)
        return None

    def register(self, agent_id: str, name: str) -> Refusal:
        if self.space(name) is None:
            return "unknown_namespace"
        there = self.members.get(agent_id)
        if there is not None and there.in_use:
            return "agent_alive"
        if there is not None and there.namespace == name:
            there.silent, there.slept = False, 0
        else:
            self._drop(agent_id)
            self.members[agent_id] = Member(name, polled=there is not None and there.polled)
        return None

    def forget(self, agent_id: str) -> Refusal:
        if agent_id not in self.members:
            return "unknown_agent"
        self._drop(agent_id)
        del self.members[agent_id]
        return None

    def report(self, agent_id: str, sender: str, name: str, version: str, said: LastReport) -> Refusal:
        """C{said} without its tag, which C{version} names."""
        space = self.space(name)
        if space is None:
            return "unknown_namespace"
        if sender != agent_id:
            return "other_agent"
        member = self.members.get(agent_id)
        if member is None:
            return "unknown_agent"
        if member.namespace != name:
            return "other_namespace"
        tag = self._resolved(space, Tag.parse(version))
        if tag is None:
            return "unknown_version"
        said, last = evolve(said, tag=tag), member.said
        if last is not None:
            if said == last:
                return "repeated_report"
            if said.order < last.order or (tag == last.tag and last.state != "applying" and said.state == "applying"):
                return "out_of_order"
        member.said, member.silent = said, False
        space.outcomes.setdefault(tag.version, {})[agent_id] = said.state
        return None

    def of(self, name: str) -> Iterable[tuple[str, Member]]:
        """The agents of a namespace."""
        return [(agent_id, member) for agent_id, member in sorted(self.members.items()) if member.namespace == name]

    def counts(self, name: str, version: int) -> dict[str, int]:
        """What became of a version."""
        space = self.spaces[name]
        line, states = space.lines[version - 1], space.outcomes.get(version, {})
        counts = dict.fromkeys(STATES, 0)
        for agent_id, member in self.of(name):
            state = states.get(agent_id, "pending")
            if state not in ("applied", "failed"):
                newer = member.said is not None and member.said.order > (line.tag.epoch, version)
                if newer and line is not space.newest:
                    state = "passed"
                elif member.silent:
                    state = "silent"
            counts[state] += 1
        return counts

    def convergence(self, name: str, version: int) -> dict[str, int] | str:
        """The same, as far as it is kept."""
        space = self.spaces[name]
        if version in space.known:
            return self.counts(name, version)
        return space.archive.get(version, "convergence_pruned")

    def slept(self) -> None:
        """Nobody was heard of for a long time: those that never were expire."""
        for member in self.members.values():
            member.silent, member.slept, member.in_use = True, member.slept + 1, False
        for agent_id in [agent_id for agent_id, member in self.members.items() if member.expired]:
            self.forget(agent_id)

    def started(self, keep: int) -> None:
        """A new process: what it does not have on disk it has forgotten."""
        self.keep = keep
        for member in self.members.values():
            member.silent, member.slept, member.in_use = False, 0, member.polled or member.said is not None
        for space in self.spaces.values():
            space.prune(keep)
            kept = [] if space.retired else range(space.pruned + 1, len(space.lines) + 1)
            space.known = list(kept[-VERSIONS_KEPT:])

    def _drop(self, agent_id: str) -> None:
        for space in self.spaces.values():
            for states in space.outcomes.values():
                states.pop(agent_id, None)

    @staticmethod
    def _resolved(space: NamespaceModel, tag: Tag) -> Tag | None:
        """
        The version that is meant. Of one that is not in memory any more only the number is looked at, and that the
        epoch is not a later one.
        """
        newest, oldest = space.newest.tag, space.lines[space.known[0] - 1].tag
        known = space.lines[tag.version - 1].tag if tag.version in space.known else None
        if not tag.cluster:
            tag = evolve(tag, cluster=newest.cluster, epoch=(known or oldest).epoch)
        if known is not None:
            return tag if tag == known and tag.cluster == newest.cluster else None
        older = tag.version < oldest.version and tag.epoch <= oldest.epoch
        return tag if older and tag.cluster == newest.cluster else None
