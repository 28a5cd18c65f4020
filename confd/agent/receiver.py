"""Check what polls and strategies receive: pass on what can be trusted, and treat all else as a hint to poll."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from confd.agent.doorbell import DoorbellListener
from confd.agent.version_guard import VersionGuard
from confd.codec import bodies
from confd.codec.announcement import Announcement, read
from confd.codec.signing import KeyRing
from confd.errors import ConfdError
from confd.interfaces import ISink
from confd.model import ServedConfig, Tag, Verdict
from confd.runtime.offload import OrderedOffload

#: Limits for the announcements that wait to be decoded; an announcement beyond them is a hint.
MAX_PENDING, MAX_PENDING_BYTES = 64, 2 * bodies.MAX_ANSWER_BYTES


@implementer(ISink)
class Receiver:
    """
    Receive configurations from polls and from the strategy.

    @ivar unverified: Number of announcements that were only hints.
    """

    log = Logger()

    def __init__(
        self,
        namespace: str,
        keys: KeyRing,
        version_guard: VersionGuard,
        offload: OrderedOffload,
        hint: Callable[[], object],
        doorbell: DoorbellListener | None = None,
        keys_changed: Callable[[tuple[str, ...]], object] = lambda keys: None,
    ) -> None:
        """
        @param keys: The keys that announcements must be signed with; answers of the controllers update them.
        @param offload: Decodes bodies; the same object decodes the answers to polls, so that no body overtakes another.
        @param hint: Called to poll soon.
        @param doorbell: Takes doorbells; C{None} ignores them.
        @param keys_changed: Called with the trusted keys when an answer changed them.
        """
        self.unverified = 0
        self._offload, self._doorbell, self._keys_changed = offload, doorbell, keys_changed
        self._namespace, self._keys, self._version_guard, self._hint = namespace, keys, version_guard, hint
        self._logged_kinds: set[str] = set()
        #: Whether the controller may use the newest tag for another document: it lost versions, and published again.
        self._ambiguous = False
        #: Whether the controller has other keys, and the ids of its keys as they were when that was found.
        self._outdated, self._asked_for = False, ""

    def trust(self, keys: Sequence[str]) -> None:
        """Trust the keys that an earlier process of this agent stored."""
        self._keys.trust(keys)

    def hint(self) -> None:
        self._hint()

    def known(self) -> Tag | None:
        newest = self._version_guard.newest
        return None if newest is None else newest.tag

    def poll_condition(self) -> Tag | None:
        """
        Return the tag to poll with, so that an unchanged configuration is not sent; C{None} asks for all of it.

        An agent without keys asks for all of it, because only a full answer holds the keys. The Go system has no keys.
        """
        known = self.known()
        whole = self._ambiguous or self._outdated
        conditional = known is not None and not whole and (self._keys or not known.cluster)
        return known if conditional else None

    def poll_interval(self) -> int | None:
        """Return the poll interval of the newest configuration in seconds; C{None} before the first configuration."""
        newest = self._version_guard.newest
        return None if newest is None else newest.poll_interval

    def stop(self) -> None:
        """Cancel the bodies that wait for their turn, and the poll that a doorbell planned."""
        self._offload.cancel()
        if self._doorbell is not None:
            self._doorbell.stop()

    def rung(self, raw: bytes) -> None:
        if self._doorbell is not None:
            self._doorbell.rung(raw)

    def served(self, raw: bytes, named: str) -> Deferred[str | None]:
        return Deferred.fromCoroutine(self._served(raw, named))

    async def _served(self, raw: bytes, named: str) -> str | None:
        served = await self._offload.run(len(raw), bodies.parse_served, raw, self._namespace, named)
        objection = self._take(served, late=True)
        if objection is not None:
            self._hint()
        return objection

    def answered(
        self, served: ServedConfig | None, asked: Tag | None, checksum: str = "", key_ids: str = ""
    ) -> str | None:
        """
        Handle the answer to a poll.

        @param served: The configuration; C{None} if the tag of the poll is current.
        @param asked: The newest tag at the time of the poll.
        @param checksum: Checksum of the current document, empty if the controller does not send it.
        @param key_ids: Ids of the keys of the controller, with commas; empty if the controller does not send them.
        @return: why the current configuration of the controller changes nothing, in one sentence; C{None} if no
            objection stands.
        """
        overtaken = asked != self.known()
        if served is not None and self._take(served, overtaken) is not None and overtaken:
            self._hint()
        if served is not None:
            self._ambiguous = self._outdated = False
        elif not overtaken and not self._version_guard.confirmed(checksum):
            self._ambiguous = True
            self._hint()
        if served is None and key_ids not in ("", self._asked_for, ",".join(self._keys.ids)):
            # Only a whole answer holds the keys; it is asked for once.
            self._outdated, self._asked_for = True, key_ids
            self._hint()
        objection = self._version_guard.objection
        return None if objection is None else objection.reason

    def _take(self, served: ServedConfig, late: bool) -> str | None:
        objection = self._version_guard.offer(served.configuration, late)
        if objection is None:
            self._outdated = False
            if self._keys.trust(served.keys):
                self._keys_changed(self._keys.publics)
        return objection

    def announced(self, raw: bytes) -> Deferred[bool]:
        if self._offload.pending >= MAX_PENDING or self._offload.pending_bytes + len(raw) > MAX_PENDING_BYTES:
            return succeed(self._treat_as_hint("flood", "Announcements arrive faster than this agent decodes them."))
        return Deferred.fromCoroutine(self._announced(raw))

    def _read(self, raw: bytes) -> tuple[Announcement, bool]:
        """Decode an announcement, and check its signature."""
        announcement = read(raw)
        return announcement, announcement.verified(self._keys)

    async def _announced(self, raw: bytes) -> bool:
        try:
            announcement, verified = await self._offload.run(len(raw), self._read, raw)
        except ConfdError as error:
            return self._treat_as_hint(error.code, error.message)
        except CancelledError:
            return False
        offered = announcement.configuration
        verdict = self._version_guard.judge(offered)
        if verdict is Verdict.SAME:
            # It changes nothing, whether or not it is signed.
            return True
        if not verified:
            # Before the first answer of a controller no announcement can be verified: not worth a log line.
            return self._treat_as_hint(
                "unverified", "It is not signed by a key of the controller.", log=bool(self._keys)
            )
        if offered.namespace != self._namespace:
            return self._treat_as_hint("other_namespace", "It is for another namespace.")
        if verdict is Verdict.OLDER:
            # It is repeated or late, or the controller is behind: the next poll shows which.
            return self._treat_as_hint("older", "It is older than the newest configuration of this agent.")
        if self._version_guard.offer(offered) is None:
            self._logged_kinds.clear()
        return True

    def _treat_as_hint(self, kind: str, reason: str, log: bool = True) -> bool:
        """Count an announcement and poll; log each kind once until an announcement is accepted."""
        self.unverified += 1
        if log and kind not in self._logged_kinds:
            self._logged_kinds.add(kind)
            self.log.warn("an announcement is only a hint: {reason}", reason=reason, kind=kind)
        self._hint()
        return False
