"""The one place that every configuration passes, whichever way it came: is it newer than what is known (promise G3)?"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.logger import Logger

from confd.model import Configuration, Tag, Verdict, judge

#: How many objections are remembered as said; a hostile controller could think of new ones for ever.
_SAID = 100


@frozen
class Objection:
    """Why a configuration that was offered changes nothing."""

    tag: Tag
    reason: str


class VersionGuard:
    """
    Lets a configuration through that supersedes all that came through before.

    @ivar newest: the newest that came through, whether or not the worker took it.
    @ivar objection: to what was offered last, until what is known is in force again.
    """

    log = Logger()

    def __init__(self, deliver: Callable[[Configuration], None], objected: Callable[[], None] = lambda: None) -> None:
        """
        @param deliver: called with each that comes through.
        @param objected: called when there is another objection, or none any more.
        """
        self.newest: Configuration | None = None
        self.objection: Objection | None = None
        self._deliver, self._objected = deliver, objected
        self._said: set[tuple[Verdict, Tag]] = set()

    def judge(self, offered: Configuration) -> Verdict:
        """What C{offered} is to the newest that came through."""
        known = self.newest
        if known is None:
            return Verdict.NEWER
        if offered.unpublished and not known.cluster_id:
            return Verdict.UNPUBLISHED
        return judge(offered.tag, offered.document.checksum, known.tag, known.document.checksum)

    def offer(self, offered: Configuration, late: bool = False) -> str | None:
        """
        Take a configuration, from the cache, a poll or a push.

        @param late: whether it may have been overtaken on its way: that it is older then says nothing against whoever
            sent it.
        @return: C{None} if it is now the newest one known, or was already; else a sentence why it changes nothing.
        """
        known, verdict = self.newest, self.judge(offered)
        if verdict is Verdict.NEWER:
            self.newest = offered
            self._said.clear()
            self.log.info("configuration {tag} is known", tag=str(offered.tag))
            self._deliver(offered)
        if known is not None and verdict is Verdict.UNPUBLISHED:
            self._say_once(verdict, offered.tag, _KEEPS.format(offered=offered.tag, known=known.tag))
        if known is None or verdict in (Verdict.NEWER, Verdict.SAME, Verdict.UNPUBLISHED):
            self._object(None)
            return None
        reason = _OBJECTIONS[verdict].format(offered=offered.tag, known=known.tag)
        if not (late and verdict is Verdict.OLDER):
            self._say_once(verdict, offered.tag, reason)
            self._object(Objection(offered.tag, reason))
        return reason

    def confirmed(self, checksum: str = "") -> bool:
        """
        A controller says that what is known is in force, and names it by its tag, which two may have in common.

        @param checksum: of what is in force; empty where the controller does not say.
        @return: whether that is so, as far as can be seen; if not, what is in force has to be offered as a whole.
        """
        known = self.newest
        if known is None or (self.objection is not None and self.objection.tag == known.tag):
            return True
        if checksum not in ("", known.document.checksum):
            return False
        self._object(None)
        return True

    def _object(self, objection: Objection | None) -> None:
        if objection != self.objection:
            self.objection = objection
            self._objected()

    def _say_once(self, verdict: Verdict, tag: Tag, objection: str) -> None:
        if (verdict, tag) in self._said:
            return
        if len(self._said) >= _SAID:
            self._said.clear()
        self._said.add((verdict, tag))
        self.log.warn("{objection}", objection=objection, verdict=verdict.value)


_KEEPS = (
    "Nobody published {offered}, the first version of a new controller: this agent keeps {known} until the first"
    " publish, or until 'confdctl import --from go-database'."
)

_OBJECTIONS = {
    Verdict.OLDER: (
        "Configuration {offered} is older than {known}, which this agent knows: it changes nothing. If the controller"
        " was restored from a backup, raise its epoch with 'confdctl epoch raise'."
    ),
    Verdict.FOREIGN: (
        "Configuration {offered} is of another cluster than {known}, which this agent knows: it changes nothing."
        " Correct CONTROLLER_URL, or have the controller take the old identity with 'confdctl cluster adopt', or remove"
        " the file of CACHE_FILE and start the agent again."
    ),
    Verdict.FORKED: (
        "Configuration {offered} is another document than the one that this agent knows by that name: it changes"
        " nothing. Raise the epoch of the controller that was restored with 'confdctl epoch raise'."
    ),
}
