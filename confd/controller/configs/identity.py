"""The identity of the cluster, as the change feed brings it."""

from __future__ import annotations

from attrs import define
from zope.interface import implementer

from confd.changes import IDENTITY, KEYS, Change, Contents, IdentityRecord
from confd.codec.signing import SigningKey
from confd.errors import Unavailable
from confd.interfaces import IChangeListener


@implementer(IChangeListener)
@define(eq=False)
class ClusterIdentity:
    """The identity of the cluster, and its signing keys."""

    _identity: IdentityRecord | None = None

    def load(self, contents: Contents) -> None:
        self._identity = contents.identity

    def apply(self, change: Change) -> None:
        if change.kind in (IDENTITY, KEYS):
            self._identity = change.value

    def current(self) -> IdentityRecord:
        """
        Return the current identity.

        @raise Unavailable: C{starting}.
        """
        if self._identity is None:
            raise Unavailable("starting", "The controller is starting; its identity is not loaded yet.")
        return self._identity

    def keys(self) -> tuple[SigningKey, ...]:
        """Return the valid signing keys, the current one first; fails as L{current} does."""
        return self.current().keys

    def session_keys(self) -> list[bytes]:
        """Return the secret that signs sessions, and the ones before that are valid; fails as L{current} does."""
        return [each.private_bytes() for each in self.current().keys]
