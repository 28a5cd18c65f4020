"""The gate for every configuration from polls, pushes and the cache: does it supersede the current one (promise G3)?"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.logger import Logger

from confd.model import Configuration, Tag, Verdict, judge

#: Objections remembered as logged; a hostile controller could provoke new ones forever.
MAX_LOGGED_OBJECTIONS = 100


@frozen
class Objection:
    """The reason why an offered configuration changes nothing."""

    tag: Tag
    reason: str


class VersionGuard:
    """
    Accept each configuration that supersedes the newest accepted one.

    @ivar newest: The newest accepted configuration, whether or not the worker applied it.
    @ivar objection: The objection to the last offer, until the newest configuration is current again.
    """

    log = Logger()

    def __init__(
        self, accepted: Callable[[Configuration], object], objected: Callable[[], object] = lambda: None
    ) -> None:
        """
        @param accepted: Called with each accepted configuration.
        @param objected: Called when the objection changes or ends.
        """
        self.newest: Configuration | None = None
        self.objection: Objection | None = None
        self._accepted, self._objected = accepted, objected
        self._logged: set[tuple[Verdict, Tag]] = set()

    def judge(self, offered: Configuration) -> Verdict:
        """Compare an offered configuration with the newest accepted one."""
        known = self.newest
        if known is None:
            return Verdict.NEWER
        if offered.unpublished and not known.cluster_id:
            return Verdict.UNPUBLISHED
        return judge(offered.tag, offered.document.checksum, known.tag, known.document.checksum)

    def offer(self, offered: Configuration, late: bool = False) -> str | None:
        """
        Offer a configuration from the cache, a poll or a push.

        @param late: Whether a newer configuration may have overtaken this one on its way. If so, an older version is no
            objection to its sender.
        @return: C{None} if the configuration is now the newest, or was so before; else one sentence that says why it
            changes nothing.
        """
        known, verdict = self.newest, self.judge(offered)
        if verdict is Verdict.NEWER:
            self.newest = offered
            self._logged.clear()
            self.log.info("configuration {tag} received", tag=str(offered.tag))
            self._accepted(offered)
        if known is not None and verdict is Verdict.UNPUBLISHED:
            self._log_once(verdict, offered.tag, _KEEPS.format(offered=offered.tag, known=known.tag))
        if known is None or verdict in (Verdict.NEWER, Verdict.SAME, Verdict.UNPUBLISHED):
            self._object(None)
            return None
        reason = _OBJECTIONS[verdict].format(offered=offered.tag, known=known.tag)
        if not (late and verdict is Verdict.OLDER):
            self._log_once(verdict, offered.tag, reason)
            self._object(Objection(offered.tag, reason))
        return reason

    def confirmed(self, checksum: str = "") -> bool:
        """
        Handle an answer that the newest tag is current.

        @param checksum: Checksum of the current document; empty if the controller does not send it.
        @return: whether the checksum fits; if not, another document has the same tag, and has to be fetched.
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

    def _log_once(self, verdict: Verdict, tag: Tag, objection: str) -> None:
        if (verdict, tag) in self._logged:
            return
        if len(self._logged) >= MAX_LOGGED_OBJECTIONS:
            self._logged.clear()
        self._logged.add((verdict, tag))
        self.log.warn("{objection}", objection=objection, verdict=verdict.value)


_KEEPS = (
    "{offered} is the first version of a new controller and was never published: this agent keeps {known} until the"
    " first publish, or until 'confdctl import --from go-database'."
)

_OBJECTIONS = {
    Verdict.OLDER: (
        "Configuration {offered} is older than {known}, the newest of this agent, and is ignored. If the controller was"
        " restored from a backup, raise its epoch with 'confdctl epoch raise'."
    ),
    Verdict.FOREIGN: (
        "Configuration {offered} is of another cluster than {known}, the newest of this agent, and is ignored."
        " Correct CONTROLLER_URL, or have the controller take the old identity with 'confdctl cluster adopt', or remove"
        " the file of CACHE_FILE and start the agent again."
    ),
    Verdict.FORKED: (
        "Configuration {offered} is another document than this agent received with that tag, and is"
        " ignored. Raise the epoch of the restored controller with 'confdctl epoch raise'."
    ),
}
