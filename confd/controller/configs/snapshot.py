"""The current configuration of each namespace, already encoded for all callers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property

from attrs import define, field, frozen
from zope.interface import implementer

from confd.changes import IDENTITY, KEYS, RETIRED, REVISION, Change, Contents
from confd.codec import sse
from confd.codec.announcement import announce
from confd.codec.bodies import configuration_body
from confd.codec.headers import etag
from confd.codec.signing import SigningKey
from confd.errors import NotFound, Unavailable
from confd.interfaces import IChangeListener, IHealth
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

        @param keys: the signing key, and earlier keys that are still valid.
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
        """Return the announcement for brokers; made on first use, as most controllers have no broker."""
        return announce(self.configuration, self._key)

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.configuration.namespace

    @property
    def tag(self) -> str:
        """Its name, as text."""
        return str(self.configuration.tag)

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands among the configurations of its namespace."""
        return self.configuration.epoch, self.configuration.version


@implementer(IHealth, IChangeListener)
@define(eq=False)
class Snapshot:
    """
    What polls are answered from: memory, never the database. Empty until it is loaded.

    @ivar keys: returns the valid signing keys, the current one first.
    """

    _keys: Callable[[], Sequence[SigningKey]]
    _current: dict[str, EncodedConfig] = field(factory=dict)

    def load(self, contents: Contents) -> None:
        self._encode(revision.configuration for revision in contents.revisions)

    def apply(self, change: Change) -> None:
        if change.kind == REVISION:
            self._put(change.value.configuration)
        elif change.kind == RETIRED:
            self._current.pop(change.subject, None)
        elif change.kind in (IDENTITY, KEYS):
            self._encode([encoded.configuration for encoded in self._current.values()])

    def changed(self, change: Change) -> Iterator[EncodedConfig]:
        """Yield each configuration that C{change} encoded and that subscribers are to get."""
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

        @raise Unavailable: C{starting}.
        """
        found = self._current.get(namespace) or self.require(DEFAULT_NAMESPACE)
        return found.configuration.poll_interval

    def announcement(self, namespace: str) -> bytes | None:
        """
        Return the announcement that answers a broker's request.

        @return: C{None} for an unknown namespace, and for a version that nobody published.
        """
        found = self.find(namespace)
        return None if found is None or found.configuration.unpublished else found.announcement

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
            found = self.find(namespace)
            if found is not None and not found.configuration.unpublished:
                yield found


def unknown_namespace(name: str) -> NotFound:
    """Return the error for a namespace that does not exist."""
    return NotFound(
        "unknown_namespace", f"Namespace {name[:63]!r} does not exist; list the namespaces, or create it first."
    )
