"""The controllers that share a store, and the settings that they must agree on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from confd.interfaces.announcements import IAnnouncements

#: Seconds without a heartbeat after which a controller counts as lost.
LOST_SECONDS = 10.0


@frozen
class ControllerRecord:
    """
    A controller, as the store knows it.

    @ivar address: for people.
    @ivar heard_at: time of its last heartbeat, UTC.
    @ivar lost: whether its last heartbeat is older than L{LOST_SECONDS}.
    @ivar seen_seq: number of the last change that it had applied then.
    @ivar lag: changes that the store has above that number.
    @ivar settings: a digest of each setting that must agree, by name.
    """

    address: str
    release: str
    started_at: datetime
    heard_at: datetime
    lost: bool
    seen_seq: int
    lag: int
    settings: Mapping[str, str]


@define(eq=False)
class AgreedSettings:
    """
    The settings of one controller that all controllers must agree on.

    @ivar values: as text, by name.
    @ivar secrets: passwords, by name; only two bytes of a slow hash are shown.
    @ivar digests: of each setting, by name; empty before L{digest}.
    """

    values: Mapping[str, str] = field(factory=dict)
    secrets: Mapping[str, str] = field(factory=dict)
    digests: dict[str, str] = field(factory=dict, init=False)

    def digest(self, cluster_id: str) -> None:
        """Make the digests, which takes 0.1 s for each secret: not on the reactor."""
        found = {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in self.values.items()}
        for name, text in self.secrets.items():
            found[name] = hashlib.scrypt(text.encode(), salt=cluster_id.encode(), n=2**14, r=8, p=1, dklen=2).hex()
        self.digests = found


class IControllers(IAnnouncements):
    """The controllers that share a store, and its announcements. A store of a single controller knows none."""

    def show_passwords(passwords: Mapping[str, str]) -> None:
        """
        Show other controllers that this controller has new passwords.

        @param passwords: by the names of their settings.
        """

    def controllers() -> Deferred[Sequence[ControllerRecord]]:
        """Fire with the controllers that run or ended without a stop in the last hour, by address."""


def differing(controllers: Sequence[ControllerRecord]) -> Sequence[str]:
    """Return the names of the settings that running controllers do not agree on, sorted."""
    running = [each.settings for each in controllers if not each.lost]
    names = {name for settings in running for name in settings}
    # An older release may not show a setting.
    return sorted(name for name in names if len({each[name] for each in running if name in each}) > 1)
