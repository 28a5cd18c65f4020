"""The configuration in force of each namespace, already encoded for everyone who asks."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field, frozen
from zope.interface import implementer

from confd.interfaces import IHealth
from confd.model import Configuration, NotFound, Unavailable
from confd.wire import configuration_body, etag


@frozen
class Encoded:
    """A configuration and the bytes that are sent of it."""

    configuration: Configuration
    body: bytes
    etag: str

    @classmethod
    def of(cls, configuration: Configuration) -> Encoded:
        """Encode once for every reader."""
        return cls(configuration, configuration_body(configuration), etag(configuration.tag))


@implementer(IHealth)
@define(eq=False)
class Snapshot:
    """What polls are answered from: memory, never the database. Empty until it is loaded."""

    _in_force: dict[str, Encoded] = field(factory=dict)

    def load(self, configurations: Iterable[Configuration]) -> None:
        """Begin with what the store has."""
        self._in_force = {each.namespace: Encoded.of(each) for each in configurations}

    def namespaces(self) -> list[str]:
        """The names of all namespaces, sorted."""
        return sorted(self._in_force)

    def trouble(self) -> str | None:
        """That it is not loaded yet: the namespace C{default} always exists."""
        return None if self._in_force else "The controller is starting; the configurations are not loaded yet."

    def get(self, namespace: str) -> Encoded:
        """
        The configuration in force.

        @raise NotFound: C{unknown_namespace}.
        @raise Unavailable: C{starting}.
        """
        found = self._in_force.get(namespace)
        if found is not None:
            return found
        starting = self.trouble()
        raise unknown_namespace(namespace) if starting is None else Unavailable("starting", starting)

    def put(self, configuration: Configuration) -> None:
        """A newer version is in force; commits are told in their order, but a replayed answer may be an old one."""
        there = self._in_force.get(configuration.namespace)
        if there is None or _order(configuration) > _order(there.configuration):
            self._in_force[configuration.namespace] = Encoded.of(configuration)

    def drop(self, namespace: str) -> None:
        """A namespace was retired."""
        self._in_force.pop(namespace, None)


def _order(configuration: Configuration) -> tuple[int, int]:
    return configuration.epoch, configuration.version


def unknown_namespace(name: str) -> NotFound:
    """The error for a namespace that does not exist."""
    return NotFound(
        "unknown_namespace", f"There is no namespace {name[:63]!r}; POST /api/v1/namespaces makes one, GET lists them."
    )
