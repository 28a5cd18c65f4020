"""The configuration in force of each namespace, already encoded for everyone who asks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property

from attrs import define, field, frozen
from zope.interface import implementer

from confd.codec import sse
from confd.codec.announcement import announce
from confd.codec.bodies import configuration_body
from confd.codec.headers import etag
from confd.codec.signing import SigningKey
from confd.errors import NotFound, Unavailable
from confd.interfaces import IHealth
from confd.model import DEFAULT_NAMESPACE, Configuration


@frozen
class EncodedConfig:
    """
    A configuration and the bytes that are sent of it.

    @ivar body: of GET C{/api/v1/config}.
    @ivar frame: the event of the stream.
    """

    configuration: Configuration
    etag: str
    body: bytes
    frame: bytes
    _key: SigningKey

    @classmethod
    def of(cls, configuration: Configuration, keys: Sequence[SigningKey]) -> EncodedConfig:
        """
        Encode once for every reader.

        @param keys: the one that signs, and those before it that are still good.
        """
        body = configuration_body(configuration, [key.public for key in keys])
        return cls(
            configuration,
            etag(configuration.tag),
            body,
            sse.frame("config", body, str(configuration.tag)),
            keys[0],
        )

    @cached_property
    def announcement(self) -> bytes:
        """What brokers are told; made when the first of them is, as most controllers have none."""
        return announce(self.configuration, self._key)

    @property
    def namespace(self) -> str:
        """Where it is in force."""
        return self.configuration.namespace

    @property
    def tag(self) -> str:
        """Its name, as text."""
        return str(self.configuration.tag)

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands among the configurations of its namespace."""
        return self.configuration.epoch, self.configuration.version


@implementer(IHealth)
@define(eq=False)
class Snapshot:
    """
    What polls are answered from: memory, never the database. Empty until it is loaded.

    @ivar keys: the signing keys, newest first; asked for once the store has started.
    """

    _keys: Callable[[], Sequence[SigningKey]]
    _in_force: dict[str, EncodedConfig] = field(factory=dict)

    def load(self, configurations: Iterable[Configuration]) -> None:
        """Begin with what the store has."""
        self._in_force = {each.namespace: EncodedConfig.of(each, self._keys()) for each in configurations}

    def namespaces(self) -> list[str]:
        """The names of all namespaces, sorted."""
        return sorted(self._in_force)

    def only(self, wanted: Sequence[str]) -> Collection[str]:
        """Return the names among C{wanted} that exist; C{*} stands for all namespaces."""
        if "*" in wanted:
            return self._in_force.keys()
        return [name for name in wanted if name in self._in_force]

    def poll_interval(self, namespace: str) -> int:
        """
        Seconds between two polls of its agents; those of a namespace that was retired are judged by the default one.

        @raise Unavailable: C{starting}.
        """
        found = self._in_force.get(namespace) or self.get(DEFAULT_NAMESPACE)
        return found.configuration.poll_interval

    def announcement(self, namespace: str) -> bytes | None:
        """
        Return the announcement that answers a broker's request.

        @return: C{None} for an unknown namespace, and for a version that nobody published.
        """
        found = self.find(namespace)
        return None if found is None or found.configuration.unpublished else found.announcement

    def all(self) -> Iterator[EncodedConfig]:
        """What is in force everywhere."""
        return iter(list(self._in_force.values()))

    def published(self) -> Iterator[EncodedConfig]:
        """The current configuration of each namespace, at the time that it is its turn; not what nobody published."""
        for namespace in self.namespaces():
            found = self.find(namespace)
            if found is not None and not found.configuration.unpublished:
                yield found

    def problem(self) -> str | None:
        """That it is not loaded yet: the namespace C{default} always exists."""
        return None if self._in_force else "The controller is starting; the configurations are not loaded yet."

    def find(self, namespace: str) -> EncodedConfig | None:
        """The configuration in force, C{None} where there is no such namespace."""
        return self._in_force.get(namespace)

    def get(self, namespace: str) -> EncodedConfig:
        """
        The configuration in force.

        @raise NotFound: C{unknown_namespace}.
        @raise Unavailable: C{starting}.
        """
        found = self.find(namespace)
        if found is not None:
            return found
        starting = self.problem()
        raise unknown_namespace(namespace) if starting is None else Unavailable("starting", starting)

    def put(self, configuration: Configuration) -> EncodedConfig | None:
        """
        A newer version is in force.

        @return: it, encoded; C{None} where it is not newer, as the answer to a repeated request may be.
        """
        encoded = EncodedConfig.of(configuration, self._keys())
        there = self._in_force.get(configuration.namespace)
        if there is not None and encoded.order <= there.order:
            return None
        self._in_force[configuration.namespace] = encoded
        return encoded

    def drop(self, namespace: str) -> None:
        """A namespace was retired."""
        self._in_force.pop(namespace, None)


def unknown_namespace(name: str) -> NotFound:
    """The error for a namespace that does not exist."""
    return NotFound(
        "unknown_namespace", f"There is no namespace {name[:63]!r}; look at the list of them, or make it first."
    )
