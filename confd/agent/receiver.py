"""Where polls and strategies bring what they heard: into the funnel if it can be believed, else a hint to look."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from confd.agent.version_guard import VersionGuard
from confd.codec import bodies
from confd.codec.announcement import Announcement, read
from confd.codec.signing import KeyRing
from confd.errors import ConfdError
from confd.interfaces import ISink
from confd.model import ServedConfig, Tag, Verdict
from confd.runtime.offload import OrderedOffload

#: Announcements that wait for their turn at most, and their bytes; a message beyond is a hint.
MAX_PENDING, MAX_PENDING_BYTES = 64, 2 * bodies.MAX_ANSWER_BYTES


@implementer(ISink)
class Receiver:
    """
    The one door for what comes from outside, whichever way it came.

    @ivar unverified: messages so far that were no more than a hint.
    """

    log = Logger()

    def __init__(
        self,
        namespace: str,
        keys: KeyRing,
        version_guard: VersionGuard,
        offload: OrderedOffload,
        hint: Callable[[], object],
    ) -> None:
        """
        @param keys: whom to believe.
        @param offload: decodes what strategies bring; the same object decodes the answers to polls, so that no body
            overtakes another one.
        @param hint: has the agent compare with its controller soon.
        """
        self.unverified = 0
        self._offload = offload
        self._namespace, self._keys, self._version_guard, self._hint = namespace, keys, version_guard, hint
        self._said: set[str] = set()
        #: What has the name of what is known may be something else: a controller lost versions, and gave it anew.
        self._ambiguous = False

    def hint(self) -> None:
        """See L{ISink}."""
        self._hint()

    def known(self) -> Tag | None:
        """See L{ISink}."""
        newest = self._version_guard.newest
        return None if newest is None else newest.tag

    def condition(self) -> Tag | None:
        """
        The tag on condition of which a controller is asked.

        Without a key no announcement can be believed, and only a whole answer tells the keys; the Go system has none.
        """
        known = self.known()
        by_name = known is not None and not self._ambiguous and (self._keys or not known.cluster)
        return known if by_name else None

    def poll_interval(self) -> int | None:
        """Seconds between two polls, as the newest configuration says; C{None} before the first."""
        newest = self._version_guard.newest
        return None if newest is None else newest.poll_interval

    def stop(self) -> None:
        """Cancel the bodies that wait for their turn."""
        self._offload.cancel()

    def served(self, raw: bytes, named: str) -> Deferred[str | None]:
        """See L{ISink}."""
        return Deferred.fromCoroutine(self._served(raw, named))

    async def _served(self, raw: bytes, named: str) -> str | None:
        served = await self._offload.run(len(raw), bodies.parse_served, raw, self._namespace, named)
        objection = self._take(served, late=True)
        if objection is not None:
            self._hint()
        return objection

    def answered(self, served: ServedConfig | None, asked: Tag | None, checksum: str = "") -> str | None:
        """
        What came of a poll.

        @param served: C{None} where what was named is in force.
        @param asked: what was known when the controller was asked.
        @param checksum: of what is in force, if the controller says it.
        @return: a sentence why what controllers offer changes nothing, C{None} if there is nothing to object to.
        """
        overtaken = asked != self.known()
        if served is not None and self._take(served, overtaken) is not None and overtaken:
            self._hint()
        if served is not None:
            self._ambiguous = False
        elif not overtaken and not self._version_guard.confirmed(checksum):
            self._ambiguous = True
            self._hint()
        objection = self._version_guard.objection
        return None if objection is None else objection.reason

    def _take(self, served: ServedConfig, late: bool) -> str | None:
        objection = self._version_guard.offer(served.configuration, late)
        if objection is None:
            self._keys.trust(served.keys)
        return objection

    def announced(self, raw: bytes) -> Deferred[bool]:
        """See L{ISink}."""
        if self._offload.pending >= MAX_PENDING or self._offload.pending_bytes + len(raw) > MAX_PENDING_BYTES:
            return succeed(self._doubt("flood", "Announcements arrive faster than this agent decodes them."))
        return Deferred.fromCoroutine(self._announced(raw))

    def _read(self, raw: bytes) -> tuple[Announcement, bool]:
        """Decode an announcement, and check its signature."""
        announcement = read(raw)
        return announcement, announcement.verified(self._keys)

    async def _announced(self, raw: bytes) -> bool:
        try:
            announcement, verified = await self._offload.run(len(raw), self._read, raw)
        except ConfdError as error:
            return self._doubt(error.code, error.message)
        except CancelledError:
            return False
        offered = announcement.configuration
        verdict = self._version_guard.judge(offered)
        if verdict is Verdict.SAME:
            # Whoever sent it: it says nothing new.
            return True
        if not verified:
            # Before the first answer of a controller nothing can be verified: that is no news.
            return self._doubt("unverified", "It is not signed by a key that the controller named.", bool(self._keys))
        if offered.namespace != self._namespace:
            return self._doubt("other_namespace", "It is for another namespace.")
        if verdict is Verdict.OLDER:
            # Repeated or late; or the controller itself is behind, and then its answer will tell.
            return self._doubt("older", "It is older than what this agent knows.")
        if self._version_guard.offer(offered) is None:
            self._said.clear()
        return True

    def _doubt(self, kind: str, reason: str, news: bool = True) -> bool:
        """Count it, and compare; of a flood only the first of a kind is worth a line, until the next that is good."""
        self.unverified += 1
        if news and kind not in self._said:
            self._said.add(kind)
            self.log.warn("an announcement is taken for a hint only: {reason}", reason=reason, kind=kind)
        self._hint()
        return False
