"""The current configuration of each namespace, already encoded for all callers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property

from attrs import define, field, frozen
from zope.interface import implementer

from confd.changes import AGENT, EXPOSED, IDENTITY, KEYS, RETIRED, REVISION, ROLLOUT, Change, Contents, Lanes
from confd.codec import sse
from confd.codec.announcement import announce
from confd.codec.bodies import configuration_body
from confd.codec.headers import etag
from confd.codec.signing import SigningKey
from confd.errors import NotFound, Unavailable
from confd.interfaces import IChangeListener, IHealth
from confd.model import DEFAULT_NAMESPACE, Configuration, parse_tag


@frozen
class EncodedConfig:
    """
    A configuration and the bytes that are sent of it.

    @ivar body: of GET C{/api/v1/config}.
    @ivar frame: the event of the stream.
    @ivar key_ids: ids of the valid signing keys, newest first, with commas.
    """

    configuration: Configuration
    etag: str
    body: bytes
    frame: bytes
    key_ids: str
    _key: SigningKey

    @classmethod
    def of(cls, configuration: Configuration, keys: Sequence[SigningKey]) -> EncodedConfig:
        """
        Encode once for every reader.

        @param keys: the signing key, and earlier keys that are still valid.
        """
        body = configuration_body(configuration, [key.public for key in keys])
        return cls(
            configuration,
            etag(configuration.tag),
            body,
            sse.frame("config", body, str(configuration.tag)),
            ",".join(key.key_id for key in keys),
            keys[0],
        )

    @cached_property
    def announcement(self) -> bytes:
        """Return the announcement for brokers; made on first use, as most controllers have no broker."""
        return announce(self.configuration, self._key)

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.configuration.namespace

    @cached_property
    def tag(self) -> str:
        """Its name, as text."""
        return str(self.configuration.tag)

    @cached_property
    def order(self) -> tuple[int, int]:
        """Where it stands among the configurations of its namespace."""
        return self.configuration.epoch, self.configuration.version


@define(eq=False)
class CandidateLane:
    """
    A candidate and the agents that are served it.

    @ivar rollout: the id of the rollout.
    """

    rollout: int
    encoded: EncodedConfig
    members: set[str]


@implementer(IHealth, IChangeListener)
@define(eq=False)
class Snapshot:
    """
    What polls are answered from: memory, never the database. Empty until it is loaded.

    @ivar keys: returns the valid signing keys, the current one first.
    """

    _keys: Callable[[], Sequence[SigningKey]]
    _current: dict[str, EncodedConfig] = field(factory=dict)
    _lanes: dict[str, CandidateLane] = field(factory=dict)

    def load(self, contents: Contents) -> None:
        self._encode(revision.configuration for revision in contents.revisions)
        self._lanes.clear()
        for namespace, lanes in contents.lanes.items():
            self._put_lanes(namespace, lanes)

    def apply(self, change: Change) -> None:
        if change.kind == REVISION:
            self._put(change.value.configuration)
        elif change.kind == ROLLOUT:
            self._put_lanes(change.subject, change.value)
        elif change.kind == EXPOSED and change.subject in self._lanes:
            self._lanes[change.subject].members.update(change.value)
        elif change.kind == AGENT and change.value.what in ("forgotten", "blocked", "moved"):
            for lane in self._lanes.values():
                lane.members.discard(change.subject)
        elif change.kind == RETIRED:
            self._current.pop(change.subject, None)
        elif change.kind in (IDENTITY, KEYS):
            self._encode([encoded.configuration for encoded in self._current.values()])
            for lane in self._lanes.values():
                lane.encoded = EncodedConfig.of(lane.encoded.configuration, self._keys())

    def changed(self, change: Change) -> Iterator[EncodedConfig]:
        """Yield each current configuration that C{change} encoded and that subscribers are to get."""
        if change.kind == REVISION and change.value.configuration is not None:
            yield from self._published([change.subject])
        elif change.kind in (IDENTITY, KEYS):
            yield from self.published()

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces, sorted."""
        return sorted(self._current)

    def only(self, wanted: Sequence[str]) -> Collection[str]:
        """Return the names among C{wanted} that exist; C{*} stands for all namespaces."""
        if "*" in wanted:
            return self._current.keys()
        return [name for name in wanted if name in self._current]

    def poll_interval(self, namespace: str) -> int:
        """
        Return the seconds between two polls of the agents of a namespace; for a retired one, the default.

        During a rollout, this is the longer interval of the two versions.

        @raise Unavailable: C{starting}.
        """
        found = self._current.get(namespace) or self.require(DEFAULT_NAMESPACE)
        lane = self._lanes.get(namespace)
        candidate = 0 if lane is None else lane.encoded.configuration.poll_interval
        return max(found.configuration.poll_interval, candidate)

    def announcement(self, namespace: str) -> bytes | None:
        """
        Return the announcement that answers a broker's request.

        @return: C{None} for an unknown namespace, and for a version that nobody published.
        """
        found = self.announced(namespace)
        return None if found is None else found.announcement

    def announced(self, namespace: str) -> EncodedConfig | None:
        """Return what brokers are to have of a namespace, C{None} if that is nothing: see L{announcement}."""
        found = self.find(namespace)
        return None if found is None or found.configuration.unpublished else found

    def published(self) -> Iterator[EncodedConfig]:
        """
        Yield the current configuration of each namespace.

        Version 1 of a new database is left out: subscribers of another system would take it for a change. Agents of
        this controller poll for it.
        """
        return self._published(self.namespaces())

    def problem(self) -> str | None:
        """That it is not loaded yet: the namespace C{default} always exists."""
        return None if self._current else "The controller is starting; the configurations are not loaded yet."

    def find(self, namespace: str) -> EncodedConfig | None:
        """Return the current configuration of a namespace, C{None} for an unknown namespace."""
        return self._current.get(namespace)

    def select(self, namespace: str, agent_id: str) -> EncodedConfig | None:
        """
        Return the configuration that a caller is served: the candidate for members, the current one for all others.

        @param agent_id: empty for a caller that is no agent.
        @return: C{None} for an unknown namespace.
        """
        lane = self._lanes.get(namespace)
        if lane is not None and agent_id in lane.members:
            return lane.encoded
        return self._current.get(namespace)

    def newest_version(self, namespace: str) -> int:
        """Return the number of the newest version of a namespace; fails as L{require} does."""
        lane = self._lanes.get(namespace)
        newest = self.require(namespace) if lane is None else lane.encoded
        return newest.configuration.version

    def lane(self, namespace: str) -> CandidateLane | None:
        """Return the candidate of a namespace, C{None} if all callers are served the current configuration."""
        return self._lanes.get(namespace)

    def detects(self, namespace: str, agent_id: str, named: Collection[str]) -> CandidateLane | None:
        """
        Return the candidate that an agent is to become a member of, as it names a version above the base.

        @param named: tags as text.
        @return: C{None} if it is a member already, or names no such version.
        """
        lane = self._lanes.get(namespace)
        if lane is None or agent_id in lane.members:
            return None
        base, candidate = self._current[namespace], lane.encoded
        for text in named:
            tag = parse_tag(text)
            here = tag is not None and tag.cluster == candidate.configuration.tag.cluster
            if tag is not None and here and base.order < (tag.epoch, tag.version) <= candidate.order:
                return lane
        return None

    def require(self, namespace: str) -> EncodedConfig:
        """
        Return the current configuration of a namespace.

        @raise NotFound: C{unknown_namespace}.
        @raise Unavailable: C{starting}.
        """
        found = self.find(namespace)
        if found is not None:
            return found
        starting = self.problem()
        raise unknown_namespace(namespace) if starting is None else Unavailable("starting", starting)

    def _encode(self, configurations: Iterable[Configuration]) -> None:
        keys = self._keys()
        self._current = {each.namespace: EncodedConfig.of(each, keys) for each in configurations}

    def _put_lanes(self, namespace: str, lanes: Lanes) -> None:
        if lanes.candidate is None:
            self._lanes.pop(namespace, None)
        elif lanes.configuration is not None:
            encoded = EncodedConfig.of(lanes.configuration, self._keys())
            self._lanes[namespace] = CandidateLane(lanes.rollout, encoded, set(lanes.members))

    def _put(self, configuration: Configuration | None) -> None:
        if configuration is None:
            return
        encoded = EncodedConfig.of(configuration, self._keys())
        before = self.find(configuration.namespace)
        if before is None or encoded.order > before.order:
            self._current[configuration.namespace] = encoded

    def _published(self, namespaces: Iterable[str]) -> Iterator[EncodedConfig]:
        # A caller may take one configuration after the other over a long time.
        for namespace in namespaces:
            found = self.announced(namespace)
            if found is not None:
                yield found


def unknown_namespace(name: str) -> NotFound:
    """Return the error for a namespace that does not exist."""
    return NotFound(
        "unknown_namespace", f"Namespace {name[:63]!r} does not exist; list the namespaces, or create it first."
    )
