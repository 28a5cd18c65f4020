"""A line in the log for each change that an operator makes."""

from __future__ import annotations

from twisted.logger import Logger
from zope.interface import implementer

from confd.changes import AGENT, RETIRED, REVISION, AgentChange, Change, Contents, Published
from confd.codec.text import printable
from confd.interfaces import IChangeListener

#: Changes of agents that operators make; agents make the others.
_OF_OPERATORS = ("forgotten", "blocked", "unblocked")


@implementer(IChangeListener)
class OperatorLog:
    """Logs publishes, rollbacks, retired namespaces, and forgotten and blocked agents, of any controller."""

    log = Logger()

    def __init__(self) -> None:
        self._seq = 0

    def load(self, contents: Contents) -> None:
        self._seq = max(self._seq, contents.seq)

    def apply(self, change: Change) -> None:
        if change.seq <= self._seq:
            return
        self._seq = change.seq
        if change.kind == REVISION:
            self._published(change.subject, change.value)
        elif change.kind == RETIRED:
            self.log.info("retired namespace {namespace}", namespace=change.subject)
        elif change.kind == AGENT:
            self._changed(change.subject, change.value)

    def _published(self, namespace: str, published: Published) -> None:
        version = published.version
        again = "" if version.rollback_of is None else f", with the document of version {version.rollback_of}"
        self.log.info(
            "published version {version} of {namespace}{again} ({tag}), by {author}",
            version=version.tag.version,
            namespace=namespace,
            again=again,
            tag=str(version.tag),
            author=printable(version.author),
        )

    def _changed(self, agent_id: str, change: AgentChange) -> None:
        if change.what in _OF_OPERATORS:
            self.log.info("agent {agent_id} is {what}", agent_id=agent_id, what=change.what)
