"""The interfaces of the stores of a controller, and of what follows their changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from datetime import datetime

    from confd.access.change_requests import ChangeJudge, ChangeRequest, NewChange, Origin, State
    from confd.audit import Attempt, AuditEntry, AuditOutcome
    from confd.changes import Batch, Change, Committed, Contents, IdentityRecord
    from confd.history import EpochChange, VersionSummary
    from confd.model import (
        Draft,
        Revision,
    )


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

    def audit(limit: int, before: int | None, patterns: Sequence[str] | None = None) -> Deferred[Sequence[AuditEntry]]:
        """
        Fire with at most C{limit} entries older than number C{before}, newest first.

        @param patterns: only entries with a namespace that one of these patterns matches; C{None} for all entries.
        """

    def last_backup() -> Deferred[datetime | None]:
        """
        Fire with the time of the newest entry of a backup that was sent, UTC; C{None} without such an entry. An entry
        L{confd.audit.CUT_OFF} takes back the entry of a backup before it.
        """


class IChangeRequestStore(Interface):
    """
    Changes that wait for approvals or for their time, durable. Each step of a change is a change C{change_request} of
    the feed, with the change as its value, without its document.

    The store asks L{Draft.applies} in the transaction that publishes, and writes there that the change was applied. It
    refuses with C{approval_required} a draft without a change where the policy of the namespace asks for approvals. It
    marks changes as stale in the transaction that moves their base.
    """

    def propose_change(
        namespace: str, rollout: int | None, make: NewChange, attempt: Attempt | None = None
    ) -> Deferred[Committed[ChangeRequest]]:
        """
        Insert the change that C{make} returns for its surroundings; fires with the change and its new id.

        @param namespace: may be retired.
        @param rollout: the id of the rollout that the change belongs to; C{None} for other kinds.
        @raise NotFound: C{unknown_namespace}.
        @raise Conflict: C{too_many_changes}.
        """

    def step_change(
        number: int, judge: ChangeJudge, attempt: Attempt | None = None, token_ids: Sequence[str] = ()
    ) -> Deferred[Committed[ChangeRequest]]:
        """
        Ask C{judge} inside a transaction, and write what it wants.

        @param token_ids: of tokens that C{judge} asks for, beside the tokens of the signers.
        @raise NotFound: C{unknown_change}.
        @raise ConfdError: that the judge raised.
        """

    def change_request(number: int) -> Deferred[ChangeRequest]:
        """
        Fire with a change and its document.

        @raise NotFound: C{unknown_change}.
        """

    def change_requests(
        namespace: str, states: Sequence[State], limit: int, before: int | None
    ) -> Deferred[Sequence[ChangeRequest]]:
        """Fire with at most C{limit} changes in these states, older than number C{before}, newest first."""

    def pending_changes() -> Deferred[Sequence[ChangeRequest]]:
        """Fire with the changes that are not over, by id, without documents."""

    def origins(namespace: str, versions: Sequence[int]) -> Deferred[Mapping[int, Origin]]:
        """Fire with the change, and its approvals, of each version among C{versions} that came from a change."""
