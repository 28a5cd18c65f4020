"""Certify which agents applied a version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from attrs import define

from confd.access.change_requests import Origin
from confd.codec.certificate import KIND, Certificate, leaf_of, root_of, sign
from confd.codec.headers import rfc3339
from confd.codec.signing import SigningKey
from confd.codec.strict_json import JsonValue
from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.registry import Registry
from confd.controller.configs.identity import ClusterIdentity
from confd.controller.convergence.tracker import Convergence
from confd.controller.convergence.version import VersionProgress
from confd.controller.interfaces import IControllerStore
from confd.errors import Conflict, Gone
from confd.model import Tag
from confd.reports import ReportState
from confd.runtime.offload import RunInThread


@define(eq=False)
class Certificates:
    """
    Makes certificates, signed with the key that signs announcements; the store makes that key at its first start.

    @ivar now: returns the wall-clock time.
    """

    _store: IControllerStore
    _convergence: Convergence
    _registry: Registry
    _identity: ClusterIdentity
    _now: Callable[[], datetime]
    _in_thread: RunInThread

    async def certify(self, namespace: str, version: int, quorum: float, with_leaves: bool) -> bytes:
        """
        Return a certificate of a version, signed.

        @param quorum: percent of the agents of the namespace that must have applied it.
        @param with_leaves: whether the certificate names each agent.
        @raise NotFound: C{unknown_version}.
        @raise Gone: C{convergence_pruned}.
        @raise Conflict: C{not_converged}.
        """
        revision = await self._store.revision(namespace, version)
        fates = await self._store.fates(namespace, [version])
        origins = await self._store.origins(namespace, [version])
        progress = self._convergence.progress(namespace, version)
        if progress is None:
            raise Gone(
                "convergence_pruned", f"The outcomes of version {version} of {namespace!r} are no longer stored."
            )
        targeted = self._registry.count(namespace)
        _require_quorum(progress, targeted, quorum)
        there = revision.configuration
        claim = Certificate(
            KIND,
            there.cluster_id,
            namespace,
            str(there.tag),
            there.document.checksum,
            rfc3339(self._now()),
            targeted,
            progress.applied,
            "",
            revision.author,
            _approvals(origins.get(version)),
            fates[version][0] if version in fates else None,
            "",
            "",
        )
        agent_ids, find = list(progress.outcomes.in_state(ReportState.APPLIED)), self._registry.rows.compact
        return await self._in_thread(_signed, claim, agent_ids, find, with_leaves, self._identity.keys()[0])


def _require_quorum(progress: VersionProgress, targeted: int, quorum: float) -> None:
    if not targeted or 100 * progress.applied < quorum * targeted:
        raise Conflict(
            "not_converged",
            f"{progress.applied} of {targeted} agents have applied {progress.tag}, and the certificate needs"
            f" {quorum:g} percent of them; wait for the others, or ask for a lower quorum.",
        )


def _approvals(origin: Origin | None) -> list[JsonValue]:
    """Return by whom the change was approved that the version came from."""
    return (
        []
        if origin is None
        else [
            {
                "change": origin.change,
                "subject": each.signer.subject,
                "who": each.signer.who,
                "at": rfc3339(each.at),
                "comment": each.comment,
            }
            for each in origin.approvals
        ]
    )


def _signed(
    claim: Certificate,
    agent_ids: Sequence[str],
    find: Callable[[str], CompactAgent | None],
    with_leaves: bool,
    key: SigningKey,
) -> bytes:
    tag = Tag.parse(claim.tag)
    leaves = sorted(_leaf(agent_id, tag, claim.checksum, find(agent_id)) for agent_id in agent_ids)
    made = msgspec.structs.replace(claim, root=root_of(leaves), leaves=leaves if with_leaves else None)
    return sign(made, key)


def _leaf(agent_id: str, tag: Tag, checksum: str, agent: CompactAgent | None) -> str:
    """Return the leaf of an agent; without session and sequence if the agent left or reported another version since."""
    report = None if agent is None else agent.record().report
    if report is None or report.tag != tag:
        return leaf_of(agent_id, str(tag), checksum, "", 0)
    return leaf_of(agent_id, str(tag), checksum, report.session, report.sequence)
