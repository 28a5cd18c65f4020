"""
Every contract between the parts of confd, on one page.

Methods that return a L{Deferred} fail with a L{confd.errors.ConfdError} for what a caller can understand, and with
anything else only for a defect. All are called on the reactor thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from attrs import frozen
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from confd.audit import Attempt, AuditEntry, AuditOutcome
from confd.changes import Batch, Change, Committed, Contents, IdentityRecord
from confd.history import EpochChange, VersionSummary
from confd.model import (
    Configuration,
    Draft,
    Poll,
    Registration,
    RegistrationResponse,
    Revision,
    Tag,
    WorkerState,
)
from confd.reports import Report
from confd.runtime.reactor import Reactor


class IConfigStore(Interface):
    """
    The documents and their history, durable: what a L{Deferred} fired with is on disk (promise G1).

    Writes fire with L{Committed}. Any method fails with L{Unavailable} while the storage is full, read-only, locked or
    damaged (promise G12).
    """

    waiting = Attribute("L{int}: writes of any kind that wait for their transaction.")

    def rotate_keys(attempt: Attempt | None = None) -> Deferred[Committed[IdentityRecord]]:
        """
        Add a signing key and sign with it from now on; the key before it stays valid until the next rotation.

        @param attempt: here and below, the request of a caller; it is audited in the same transaction.
        """

    def current() -> Deferred[Sequence[Revision]]:
        """Fire with the current revision of each namespace in use. No other code decides which revision is current."""

    def publish(draft: Draft) -> Deferred[Committed[Revision]]:
        """
        Make a draft the next version of its namespace, in one transaction.

        @return: fires, once it is on disk, with the new revision; for an idempotency key that was seen in this
            namespace with the same draft, with the revision that it made then.
        @raise NotFound: C{unknown_namespace}.
        @raise PreconditionFailed: C{version_mismatch}, no expected tag is current.
        @raise Unprocessable: C{idempotency_key_reused}, the key came with another document or poll interval.
        """

    def create_namespace(draft: Draft) -> Deferred[Committed[Revision]]:
        """
        Make a namespace with C{draft} as its version 1; without an interval it takes that of the namespace C{default}.
        A name that was retired before goes on counting where it stopped, so that its agents never meet a number twice.

        @raise Conflict: C{namespace_exists}.
        """

    def retire_namespace(name: str, attempt: Attempt | None = None) -> Deferred[Committed[None]]:
        """
        Take a namespace out of use; its history stays on disk.

        @raise NotFound: C{unknown_namespace}.
        """

    def begin_epoch(change: EpochChange) -> Deferred[Committed[Sequence[Revision]]]:
        """
        Begin a new epoch, in one transaction. Each namespace in use gets its current document again as its next
        version, which supersedes every version that agents may hold.

        @return: fires with the new revisions.
        @raise Conflict: C{epoch_not_higher}; C{same_cluster}: the cluster is to adopt its own identity.
        """

    def history(namespace: str, limit: int, before: int | None) -> Deferred[Sequence[VersionSummary]]:
        """
        Fire with at most C{limit} versions older than number C{before}, newest first. Takes as long however many there
        are, and however large their documents.
        """

    def revision(namespace: str, version: int) -> Deferred[Revision]:
        """
        Fire with one revision.

        @raise NotFound: C{unknown_version}.
        @raise Gone: C{version_pruned}, only the newest C{HISTORY_KEEP} are kept.
        """


class IChangeStore(Interface):
    """The numbered changes of everything that a controller keeps in memory."""

    interval = Attribute(
        "L{float}: seconds between two reads without a hint; C{None} if each change comes with a hint before the write"
        " that made it fires."
    )

    def contents() -> Deferred[Contents]:
        """
        Fire with what a controller keeps in memory. Some changes after C{Contents.seq} may be included already.

        @raise Unavailable: C{storage_unavailable}.
        """

    def changes(after: int) -> Deferred[Batch]:
        """
        Fire with the changes after number C{after}; see L{Batch} for changes that are kept no longer.

        @raise Unavailable: C{storage_unavailable}.
        """

    def subscribe(hint: Callable[[], object]) -> None:
        """Call C{hint} on the reactor when there may be new changes. The store has one subscriber: the feed."""


class IChangeListener(Interface):
    """
    A part of a controller whose memory follows the feed; both methods are synchronous.

    To apply a change twice changes nothing. An exception is logged and does not stop the other listeners.
    """

    def load(contents: Contents) -> None:
        """Replace the contents of memory by these."""

    def apply(change: Change) -> None:
        """Apply one change; kinds that do not concern this part are ignored."""


class IAuditStore(Interface):
    """Who tried to change what, durable: it only grows, and each entry is chained to the one before it."""

    def record(endings: Sequence[AuditOutcome]) -> Deferred[None]:
        """Put attempts on record that changed nothing, in this order; fire once they are on disk."""

    def audit(limit: int, before: int | None) -> Deferred[Sequence[AuditEntry]]:
        """Fire with at most C{limit} entries older than number C{before}, newest first."""


class IHealth(Interface):
    """A part that can be unusable for a while."""

    def problem() -> str | None:
        """Return one sentence on why this part is unusable now, C{None} if it works; cheap, since /ready calls it."""


class IBroker(IService, IHealth):
    """
    A message broker, as a service that connects in the background and never gives up (promise G4).

    Receivers verify the signature of each announcement; the HTTP API remains authoritative.
    """

    name = Attribute("L{str}: as in C{DISTRIBUTION_STRATEGY}.")

    def present(password: str | None, token: str | None) -> None:
        """Use these credentials for the next connections; a broker without tokens ignores the token."""

    def announce(namespace: str, announcement: bytes) -> Deferred[None]:
        """
        Publish an announcement, and store it where the broker can.

        @return: fires when the broker has received it.
        @raise Unavailable: the broker is down, hangs or refuses; within 5 seconds.
        """

    def listen(namespace: str, received: Callable[[bytes], object], connected: Callable[[], None]) -> None:
        """
        Subscribe to the announcements of a namespace; called before the service starts.

        @param received: called with each message that is no larger than any announcement; its content is unverified.
        @param connected: called after each connection, when the subscription is active: earlier announcements may have
            been missed, later ones arrive.
        """

    def latest(namespace: str) -> Deferred[bytes | None]:
        """Fire with the newest announcement that the broker can give, or C{None}; fails as L{announce} does."""

    def answer(latest: Callable[[str], bytes | None]) -> None:
        """Answer requests for the newest announcement on a broker that stores none; called before the start."""

    def watch(returned: Callable[[], None]) -> None:
        """Call C{returned} each time the broker is reachable again after a failure; called before the start."""


class IControllerClient(Interface):
    """An agent's view of the controllers; each call has a deadline and fails with L{Unavailable} where none answers."""

    def present(agent_id: str, token: str) -> None:
        """Authenticate with this token; after a refusal, use the shared identity and register again."""

    def register(registration: Registration) -> Deferred[RegistrationResponse]:
        """Join, or join again with the id given before; fire with the membership and the token to L{present}."""

    def fetch(known: Tag | None, agent_id: str) -> Deferred[Poll]:
        """
        Request the current configuration, conditionally.

        @param known: the tag that the agent has, if any.
        @param agent_id: names the caller; empty before the first registration.
        @raise Malformed: the answer was no configuration.
        @raise Unauthenticated: wrong credentials.
        """

    def report(report: Report, agent_id: str) -> Deferred[float]:
        """
        Report the result of a configuration.

        @return: fires, once it is taken, with the seconds over which the next report is to be spread.
        @raise NotFound: C{unknown_agent}: to be registered again; C{unknown_version}, C{unknown_namespace}; with any
            other code, the controller takes no reports (the Go system's).
        @raise Conflict: C{repeated_report}, C{out_of_order}: it, or a later one, was taken before.
        """

    def stream(known: Tag | None, agent_id: str, received: Callable[[bytes], object]) -> Deferred[None]:
        """
        Open the event stream; cancelling closes it.

        @param received: called with each piece, and not again before a Deferred that it returns has fired. An error
            that it raises, or with which the Deferred fails, ends the stream.
        @return: fires when the controller has ended it, and fails with a L{ConfdError} when it broke off or never
        began.
        """


class IWorkerClient(Interface):
    """An agent's view of its worker; each call has a deadline, and fails with L{Unavailable} where none answers."""

    def deliver(configuration: Configuration) -> Deferred[bool | None]:
        """
        Deliver a configuration.

        @return: fires with C{False} if use of the configuration is only assumed, and not proven.
        @raise Unprocessable: the worker refuses it, in its own words.
        @raise Conflict: the worker has a newer one.
        """

    def checksum() -> Deferred[str | None]:
        """Fire with the checksum of the current configuration, C{""} without one, C{None} if the worker cannot tell."""

    def state() -> Deferred[WorkerState]:
        """Fire with what its C{/health} says."""


class ISink(Interface):
    """Where a strategy brings what it heard: the agent's one funnel."""

    def hint() -> None:
        """Compare with the controller soon: the document may have changed. Many hints cause few requests."""

    def known() -> Tag | None:
        """Return the tag of the newest configuration that this agent received."""

    def served(raw: bytes, named: str) -> Deferred[str | None]:
        """
        Take the body of a configuration from an authenticated controller; bodies are applied in the order of the calls.

        @param named: the tag that came beside the body.
        @return: fires with C{None} if the configuration is now the newest received one, or was so before; else with a
            sentence that says why it changes nothing. Fails with L{Malformed}, or C{CancelledError} if the agent stops.
        """

    def announced(raw: bytes) -> Deferred[bool]:
        """
        Take a message of a broker. A message that a controller signed is believed; any other one is counted as a hint.

        @return: fires with whether the message was believed; never fails.
        """


#: What L{IStrategy.path} says while no push path is up.
POLL = "poll"


class IStrategy(Interface):
    """
    A way in which an agent learns of a change sooner than by its next poll.

    The agent polls whatever its strategy does; a strategy only hurries it up, and never applies anything itself. Where
    it has a method C{reload} without arguments, that is called on SIGHUP.
    """

    name = Attribute("L{str}: as in C{DISTRIBUTION_STRATEGY}.")
    pushes = Attribute("L{bool}: whether a push path exists; while it is down the agent polls more often.")
    connections = Attribute("L{int}: how often the push path came up so far.")

    def start(sink: ISink) -> None:
        """Begin to listen; returns at once, connects in the background, and never gives up (promise G4)."""

    def stop() -> Deferred[None]:
        """Fire when nothing is left open; L{ISink} is not called after."""

    def path() -> str:
        """Return the way of changes now: L{POLL}, or the name of the strategy while its push path is up."""


@frozen
class StrategyContext:
    """
    What a strategy may use.

    @ivar reactor: the timers, sockets and threads of the process; its clock is monotonic.
    @ivar namespace: whose document the agent is for.
    @ivar environ: the settings as they were given, by the names of their environment variables.
    @ivar controller: the controllers, for a strategy that asks them itself.
    @ivar agent_id: names this agent; empty until it is registered.
    @ivar random: where jitter comes from.
    @ivar backoff_max: seconds between two attempts at most.
    """

    reactor: Reactor
    namespace: str
    environ: Mapping[str, str]
    controller: IControllerClient
    agent_id: Callable[[], str]
    random: Random
    backoff_max: float


class IStrategyMaker(Interface):
    """A strategy that can be picked by name: found by C{twisted.plugin} in C{twisted.plugins}."""

    name = Attribute("L{str}: in upper case, as in C{DISTRIBUTION_STRATEGY}.")

    def make(context: StrategyContext) -> IStrategy:
        """
        Construct it; connects nothing.

        @raise StartError: naming the settings that are wrong.
        """
