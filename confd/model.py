"""The values of confd, and the order between configurations."""

from __future__ import annotations

import enum
import re
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from confd.access.change_requests import ApplyChange
    from confd.audit import Attempt
    from confd.history import OtherHistory

#: The namespace that always exists: the one document that the Go system knows.
DEFAULT_NAMESPACE = "default"

#: Bounds of a poll interval, in seconds.
POLL_INTERVAL_MIN, POLL_INTERVAL_MAX = 1, 86400

#: How tags, names of namespaces and ids of agents are written.
TAG = re.compile(r"(?:([0-9a-f]{8})\.([1-9][0-9]{0,17})\.)?([1-9][0-9]{0,17})", re.ASCII)
NAMESPACE = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)
#: Clients and proxies take the path segments "." and ".." for steps (RFC 3986, 5.2.4): no agent can have such an id.
AGENT_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:-]{1,64}", re.ASCII)
TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,256}", re.ASCII)


@frozen
class Tag:
    """
    The name of a configuration: C{<c>.<epoch>.<version>}, or a bare version number for one of the Go system.

    @ivar cluster: the first 8 hex digits of the C{cluster_id}, empty without a cluster.
    @ivar epoch: raised by an operator after a restore; 0 without an epoch.
    @ivar version: counts 1, 2, 3 ... in each namespace.
    """

    cluster: str
    epoch: int
    version: int

    def __str__(self) -> str:
        return f"{self.cluster}.{self.epoch}.{self.version}" if self.cluster else str(self.version)

    @classmethod
    def parse(cls, text: str) -> Tag:
        """
        Read a tag back from its text.

        @raise ValueError: if it is not one.
        """
        match = TAG.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:80]!r} is not a tag such as 1a2b3c4d.1.7")
        cluster, epoch, version = match.groups()
        return cls(cluster or "", int(epoch or 0), int(version))


def parse_tag(text: str) -> Tag | None:
    """Return the tag that a text names, C{None} if the text is not a tag."""
    try:
        return Tag.parse(text)
    except ValueError:
        return None


class Verdict(enum.Enum):
    """The relation of an offered configuration to the current one."""

    NEWER = "newer"
    SAME = "same"
    #: An older one: late, repeated, or from a controller that lost its memory.
    OLDER = "older"
    #: From another cluster, or from a controller without identity after one with.
    FOREIGN = "foreign"
    #: The same tag on another document: a history that was written twice.
    FORKED = "forked"
    #: From a new database, to an agent that holds a document of the Go system.
    UNPUBLISHED = "unpublished"


def judge(offered: Tag, checksum: str, known: Tag | None, known_checksum: str = "") -> Verdict:
    """
    Compare an offered configuration with the current one.

    Inside a cluster the order of C{(epoch, version)} decides and nothing else. A configuration without cluster (the Go
    system) gives way to any that has one, never the other way round.
    """
    if known is None or (offered.cluster and not known.cluster):
        return Verdict.NEWER
    if offered.cluster != known.cluster:
        return Verdict.FOREIGN
    there, here = (offered.epoch, offered.version), (known.epoch, known.version)
    if there == here:
        return Verdict.SAME if not known_checksum or checksum == known_checksum else Verdict.FORKED
    return Verdict.NEWER if there > here else Verdict.OLDER


def supersedes(offered: Tag, known: Tag | None) -> bool:
    """Tell whether C{offered} may replace C{known}: see L{judge}."""
    return judge(offered, "", known) is Verdict.NEWER


def is_unpublished(tag: Tag, namespace: str) -> bool:
    """Tell whether a new database made this from C{DEFAULT_CONFIG}: it replaces no document of another system."""
    return bool(tag.cluster) and namespace == DEFAULT_NAMESPACE and tag.version == 1


@frozen
class Document:
    """
    A configuration document, already proven to be strict JSON.

    @ivar raw: compact UTF-8 JSON, its keys in the order in which they came.
    @ivar checksum: C{sha256:<hex>} of its canonical form (RFC 8785).
    """

    raw: bytes
    checksum: str


@frozen
class Configuration:
    """
    One version of the document of one namespace.

    @ivar cluster_id: UUID of the cluster, empty for the Go system.
    @ivar poll_interval: seconds between two polls of an agent.
    @ivar updated_at: when it was committed, UTC.
    """

    cluster_id: str
    epoch: int
    version: int
    namespace: str
    document: Document
    poll_interval: int
    updated_at: datetime

    @cached_property
    def tag(self) -> Tag:
        """The name of this configuration; without a cluster an epoch means nothing."""
        return Tag(self.cluster_id[:8], self.epoch if self.cluster_id else 0, self.version)

    @property
    def unpublished(self) -> bool:
        return is_unpublished(self.tag, self.namespace)

    @property
    def size(self) -> int:
        """Return the bytes of its document."""
        return len(self.document.raw)


@frozen
class ServedConfig:
    """A controller's answer; C{keys}: the public keys of its announcements, newest first; none for the Go system."""

    configuration: Configuration
    keys: tuple[str, ...] = ()


@frozen
class Poll:
    """
    What came of a poll.

    @ivar served: the current configuration, C{None} if the caller named its tag.
    @ivar member: whether the controller knows the agent that asked; else the agent registers again.
    @ivar checksum: of the current document; empty where the controller does not say.
    @ivar key_ids: ids of the signing keys, newest first, with commas; empty where the controller does not say.
    """

    served: ServedConfig | None
    member: bool = True
    checksum: str = ""
    key_ids: str = ""


@frozen
class Revision:
    """
    A configuration as the history knows it.

    @ivar author: the identity that published it.
    @ivar rollback_of: the version whose content it repeats, if it is a rollback.
    """

    configuration: Configuration
    author: str
    comment: str = ""
    rollback_of: int | None = None


@frozen
class Draft:
    """
    A request to publish.

    @ivar poll_interval: seconds; C{None} keeps the current one.
    @ivar expected: tags; one must be current (C{If-Match}). C{None} skips the check, C{"*"} matches any.
    @ivar idempotency_key: a retry with this key gets the first answer.
    @ivar made_at: the wall clock at the door, UTC.
    @ivar arrived: when the request arrived, in seconds of the monotonic clock; C{None} without a request.
    @ivar attempt: is put on record in the transaction that publishes; C{None} where nobody asked.
    @ivar continues: the history of another system that ends with this draft.
    @ivar rollout: the plan that was asked for; C{abort} supersedes an open rollout.
    @ivar if_changed: whether to refuse the document and the poll interval that are current.
    @ivar applies: the approved change that the draft comes from.
    """

    namespace: str
    document: Document
    author: str
    made_at: datetime
    poll_interval: int | None = None
    comment: str = ""
    expected: frozenset[str] | None = None
    idempotency_key: str | None = None
    rollback_of: int | None = None
    arrived: float | None = None
    attempt: Attempt | None = None
    continues: OtherHistory | None = None
    rollout: str = ""
    if_changed: bool = False
    applies: ApplyChange | None = None

    @property
    def asked_at(self) -> datetime:
        """When the request arrived, UTC; an import has other times in C{made_at}."""
        return self.made_at if self.attempt is None else self.attempt.made_at

    @property
    def break_glass(self) -> str:
        """Why the draft is to pass the policy and the freezes of its namespace; empty where it is not to."""
        return "" if self.attempt is None else self.attempt.break_glass


@frozen
class Registration:
    """
    What an agent says of itself when it joins.

    @ivar agent_id: empty until a controller gave it one.
    @ivar advertise: host and port of its metrics; empty for none.
    """

    hostname: str = ""
    metadata: str = ""
    agent_id: str = ""
    strategy: str = ""
    namespace: str = DEFAULT_NAMESPACE
    advertise: str = ""


@frozen
class RegistrationResponse:
    """
    What a controller answers to a registration.

    @ivar poll_interval: seconds.
    @ivar report_window: seconds over which an agent spreads its reports at random; it grows with the fleet.
    @ivar token: what the agent proves to be itself by; empty where the controller knows no tokens.
    """

    agent_id: str
    poll_interval: int
    report_window: float = 0.0
    token: str = field(default="", repr=False)


@frozen
class Delivered:
    """
    What a worker says of a configuration that it took.

    @ivar checksum: of the document that it then holds; C{None} if it has to be asked for it.
    @ivar proven: whether use of the configuration was proven, and not only assumed.
    """

    checksum: str | None = None
    proven: bool = True


@frozen
class WorkerState:
    """
    What a worker says of itself.

    @ivar version: the tag of what it holds; C{None} from the Go worker.
    @ivar boot_id: of its process; empty from the Go worker.
    @ivar verified: whether its use of the configuration was proven, and not only assumed.
    """

    has_config: bool
    version: str | None = None
    boot_id: str = ""
    verified: bool = True


def valid_namespace(name: str) -> bool:
    """Tell whether C{name} may name a namespace: lower-case letters, digits and dashes, at most 63."""
    return NAMESPACE.fullmatch(name) is not None


def valid_agent_id(text: str) -> bool:
    """Tell whether C{text} may name an agent: at most 64 letters, digits and C{. _ : -}, not C{.} or C{..}."""
    return AGENT_ID.fullmatch(text) is not None


def valid_token(text: str) -> bool:
    """Tell whether C{text} may be the token of an agent: up to 256 letters, digits and C{. _ ~ + / = -} (RFC 6750)."""
    return TOKEN.fullmatch(text) is not None
