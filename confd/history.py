"""The values of a history: its lines, what begins a new epoch in it, and who was faster."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from attrs import frozen

from confd.audit import Attempt
from confd.errors import Conflict, PreconditionFailed
from confd.model import DEFAULT_NAMESPACE, Draft, Revision, Tag


@frozen
class VersionSummary:
    """
    A line of the history: a L{Revision} without its document.

    @ivar poll_interval: seconds.
    @ivar created_at: when it was committed, UTC.
    """

    tag: Tag
    checksum: str
    poll_interval: int
    created_at: datetime
    author: str
    comment: str = ""
    rollback_of: int | None = None

    @classmethod
    def of(cls, revision: Revision) -> VersionSummary:
        """Return the line of a revision."""
        there = revision.configuration
        return cls(
            there.tag,
            there.document.checksum,
            there.poll_interval,
            there.updated_at,
            revision.author,
            revision.comment,
            revision.rollback_of,
        )


@frozen
class OtherHistory:
    """
    The history of another system, to go on with.

    @ivar version: the number of its newest version.
    @ivar past: older versions by their numbers, ascending.
    @ivar force: go on with it although something was published here.
    """

    version: int
    past: tuple[tuple[int, Draft], ...] = ()
    force: bool = False


@frozen
class EpochChange:
    """
    Describe the new epoch that an operator begins after a disaster, in this cluster or as another cluster.

    @ivar made_at: wall clock time of the request, UTC.
    @ivar arrived: when the request arrived, in seconds of the monotonic clock.
    @ivar epoch: the new one, above the one in use.
    @ivar cluster_id: UUID of the cluster to adopt; C{None} keeps the current one.
    @ivar attempt: is put on record in the same transaction.
    """

    author: str
    made_at: datetime
    epoch: int
    cluster_id: str | None = None
    comment: str = ""
    arrived: float | None = None
    attempt: Attempt | None = None


def check_expected(expected: Collection[str] | None, current: Tag | None) -> None:
    """
    Accept a change that expects the current tag, or any tag.

    @param expected: see L{Draft}.
    @param current: C{None} while the namespace is retired.

    @raise PreconditionFailed: C{version_mismatch}.
    """
    if expected is not None and (current is None or not {"*", str(current)}.intersection(expected)):
        raise PreconditionFailed(
            "version_mismatch",
            f"The current configuration is {current or 'retired'}, not the expected one; read it, then decide again.",
        )


def check_changed(draft: Draft, current: VersionSummary) -> None:
    """
    Accept a draft that differs from the current version, or need not.

    @raise Conflict: C{unchanged}.
    """
    same = draft.document.checksum == current.checksum and draft.poll_interval in (None, current.poll_interval)
    if draft.if_changed and same:
        raise Conflict(
            "unchanged",
            f"Nothing to publish: version {current.tag.version} has this document and this poll interval already.",
        )


def check_import(draft: Draft, other: OtherHistory, newest: int) -> list[tuple[int, Draft]]:
    """
    Return the versions that an import adds to a namespace, by their numbers, ascending and without gaps.

    Versions between C{newest} and the first of these are not kept.

    @param newest: the current version of the namespace.
    @raise Conflict: C{already_published}.
    """
    if not other.force and (newest > 1 or draft.namespace != DEFAULT_NAMESPACE):
        raise Conflict(
            "already_published",
            f"The namespace {draft.namespace!r} is at version {newest}: an import belongs before the first publish."
            " Give force to put the imported document above it.",
        )
    if other.version <= newest:
        return [(newest + 1, draft)]
    added = [(other.version, draft)]
    for number, past in reversed(other.past):
        if number != added[-1][0] - 1 or number <= newest:
            break
        added.append((number, past))
    return added[::-1]


def check_epoch(change: EpochChange, cluster_id: str, epoch: int) -> None:
    """
    Check that an epoch is higher than the current one.

    @param cluster_id: the current cluster.
    @param epoch: the current epoch.
    @raise Conflict: C{epoch_not_higher}, C{same_cluster}.
    """
    if change.cluster_id == cluster_id:
        raise Conflict("same_cluster", f"This is the cluster {cluster_id} already; raise the epoch instead.")
    if change.epoch <= epoch:
        raise Conflict("epoch_not_higher", f"The epoch is {epoch} already; the new one must be higher.")
