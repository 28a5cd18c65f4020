"""Answer the doorbell of a rollout: poll once, if this agent was picked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from confd.agent.version_guard import VersionGuard
from confd.codec.doorbell import Doorbell, read_doorbell
from confd.codec.ranks import rank
from confd.codec.retry_after import MAX_SECONDS
from confd.codec.selectors import matches, parse_selector
from confd.codec.signing import KeyRing
from confd.errors import Malformed

#: Doorbells that are read in a second; more are hints.
MAX_PER_SECOND = 20

#: Seconds over which agents spread their polls after a doorbell that they cannot verify.
HINT_SPREAD_SECONDS = 1.0


@define(eq=False)
class DoorbellListener:
    """
    Turns doorbells into polls.

    A doorbell that a key of the controller signed causes one poll, on the picked agents only, and none when it is
    repeated. Any other doorbell is a hint to poll, at most once a second.

    @ivar labels: returns the labels of this agent; C{id} is empty before the registration.
    @ivar hint: polls soon.
    """

    _clock: IReactorTime
    _namespace: str
    _keys: KeyRing
    _version_guard: VersionGuard
    _labels: Callable[[], Mapping[str, str]]
    _random: Random
    _hint: Callable[[], object]
    _last: Doorbell | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _second: int = field(default=0, init=False)
    _read: int = field(default=0, init=False)

    def rung(self, raw: bytes) -> None:
        """Take a message from the channel of doorbells."""
        if self._is_flood():
            self._poll_within(HINT_SPREAD_SECONDS)
            return
        try:
            doorbell = read_doorbell(raw)
        except Malformed:
            self._poll_within(HINT_SPREAD_SECONDS)
            return
        if self._is_for_others(doorbell):
            return
        if not doorbell.verified(self._keys):
            self._poll_within(HINT_SPREAD_SECONDS)
        elif self._is_new(doorbell) and self._is_picked(doorbell):
            self._poll_within(min(doorbell.spread_ms / 1000, MAX_SECONDS))

    def stop(self) -> None:
        """Cancel the poll that is planned."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_flood(self) -> bool:
        """Count a doorbell, and return whether this second had too many."""
        now = int(self._clock.seconds())
        if now != self._second:
            self._second, self._read = now, 0
        self._read += 1
        return self._read > MAX_PER_SECOND

    def _is_for_others(self, doorbell: Doorbell) -> bool:
        """Return whether it is of another namespace, or of another cluster on the same broker."""
        newest = self._version_guard.newest
        other_cluster = newest is not None and newest.cluster_id not in ("", doorbell.cluster_id)
        return other_cluster or doorbell.namespace != self._namespace

    def _is_new(self, doorbell: Doorbell) -> bool:
        """Return whether it is no repetition, and remember it; a client of the broker may repeat it."""
        if self._last is not None and doorbell.order <= self._last.order:
            return False
        before, self._last = self._last, doorbell
        if before is None or (before.rollout, before.step) != (doorbell.rollout, doorbell.step):
            return True
        # A later batch of the same wave: agents of the batch before have polled already.
        return not self._is_picked(before)

    def _is_picked(self, doorbell: Doorbell) -> bool:
        labels = self._labels()
        try:
            selector = parse_selector(doorbell.select)
        except Malformed:
            return False
        own = labels["id"]
        return bool(own) and rank(doorbell.salt, own) <= int(doorbell.cut) and matches(labels, selector)

    def _poll_within(self, seconds: float) -> None:
        """Plan a poll at a random moment, unless one is planned that comes sooner."""
        due = self._clock.seconds() + self._random.uniform(0, seconds)
        if self._timer is not None:
            if self._timer.getTime() <= due:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(due - self._clock.seconds(), self._poll)

    def _poll(self) -> None:
        self._timer = None
        self._hint()
