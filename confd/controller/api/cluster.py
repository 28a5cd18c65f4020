"""The paths of the cluster's identity: what operators need after a disaster, and the key that announcements carry."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import msgspec
from attrs import define
from twisted.internet.interfaces import IReactorTime

from confd.codec.headers import rfc3339
from confd.controller.agents.compact import CompactAgent
from confd.controller.agents.registry import Registry
from confd.controller.agents.selection import walk_agents
from confd.controller.api.change_options import Comment, bad_field
from confd.controller.api.cluster_schemas import ClusterBody, ClusterChangeBody, ControllerItem, KeyRotationBody
from confd.controller.configs.herd import HerdBudget
from confd.controller.configs.identity import ClusterIdentity
from confd.controller.configs.service import Configs
from confd.controller.configs.snapshot import Snapshot
from confd.errors import Conflict, Unavailable
from confd.interfaces.controllers import ControllerRecord, IControllers
from confd.model import DEFAULT_NAMESPACE, Tag
from confd.web.api.endpoint import Call, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs

#: The highest epoch that an operator can choose, and the highest that an agent is believed: none can use them all up.
EPOCH_MAX, EPOCH_BELIEVED = 10**12, 10**9

Epoch = Annotated[int, msgspec.Meta(ge=1, le=EPOCH_MAX)]


class NewEpoch(msgspec.Struct, forbid_unknown_fields=True):
    """What to raise the epoch to; without a number, above all that is known."""

    epoch: Epoch | None = None
    comment: Comment = ""


class NewIdentity(NewEpoch, forbid_unknown_fields=True, kw_only=True):
    """The cluster to go on as."""

    cluster_id: Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]


_DOCS = Docs(errors=(Conflict, Unavailable), tag="cluster")


@define(eq=False)
class ClusterApi:
    """Who this cluster is, as it knows itself and as agents know it."""

    _configs: Configs
    _identity: ClusterIdentity
    _snapshot: Snapshot
    _registry: Registry
    _herd: HerdBudget
    _store: IControllers
    _clock: IReactorTime

    @endpoint(
        "GET",
        "/api/v1/cluster",
        Permission.CONFIG_READ,
        "Who this cluster is, and which agents know better.",
        docs=_DOCS,
    )
    async def cluster(self, call: Call) -> ClusterBody:
        """Return the identity of the cluster. Agents that are ahead, or of other clusters, wait for a decision."""
        self._snapshot.require(DEFAULT_NAMESPACE)
        ahead: list[int] = []
        foreign: dict[str, list[int]] = {}
        own = self._identity.current()
        async for record, cluster_id, holds in self._held(own.cluster_id):
            if cluster_id != own.cluster_id:
                foreign.setdefault(cluster_id, []).append(holds.epoch)
            elif self._is_ahead(record, holds):
                ahead.append(holds.epoch)
        body: ClusterBody = {
            "cluster_id": own.cluster_id,
            "epoch": own.epoch,
            "ahead": {"agents": len(ahead), "epoch": max(ahead, default=own.epoch)},
            "foreign": [
                {"cluster_id": cluster_id, "agents": len(epochs), "epoch": max(epochs)}
                for cluster_id, epochs in sorted(foreign.items())
            ],
        }
        if self._herd.limited:
            body["herd"] = {"requests": self._herd.requests, "bytes": self._herd.stream.rate}
        controllers = await self._controllers()
        if controllers:
            body["controllers"] = [_item(each) for each in controllers]
        return body

    @endpoint(
        "POST",
        "/api/v1/epoch/raise",
        Permission.ADMIN,
        "Begin a new epoch.",
        body=NewEpoch,
        optional_body=True,
        docs=_DOCS,
    )
    async def raise_epoch(self, call: Call) -> ClusterChangeBody:
        """Raise the epoch after a restore: each namespace gets a new version that supersedes all earlier ones."""
        return await self._begin_epoch(call, None)

    @endpoint(
        "POST",
        "/api/v1/cluster/adopt",
        Permission.ADMIN,
        "Take the identity of another cluster.",
        body=NewIdentity,
        named_by="cluster_id",
        docs=_DOCS,
    )
    async def adopt(self, call: Call) -> ClusterChangeBody:
        """Adopt the identity of a cluster whose database is lost: its agents then follow this controller."""
        try:
            wanted = str(uuid.UUID(call.body.cluster_id))
        except ValueError:
            wanted = ""
        if not wanted or wanted != call.body.cluster_id.lower():
            sentence = "cluster_id must be a UUID, as GET /api/v1/cluster shows it under foreign."
            raise bad_field("cluster_id", sentence)
        return await self._begin_epoch(call, wanted)

    @endpoint(
        "POST",
        "/api/v1/signing-key/rotate",
        Permission.ADMIN,
        "Sign announcements with a new key from now on.",
        docs=_DOCS,
    )
    async def rotate_key(self, call: Call) -> KeyRotationBody:
        """Make a new key. The previous one stays valid until the next rotation."""
        public = await self._configs.rotate_keys(call.attempt)
        return {"message": "Announcements are signed with a new key", "signing_key": public}

    async def _controllers(self) -> Sequence[ControllerRecord]:
        try:
            return await self._store.controllers()
        except Unavailable:
            # The rest of the answer comes from memory.
            return ()

    async def _begin_epoch(self, call: Call, cluster_id: str | None) -> ClusterChangeBody:
        self._snapshot.require(DEFAULT_NAMESPACE)
        wanted: NewEpoch = call.body
        own = self._identity.current()
        meant = cluster_id or own.cluster_id
        known = [holds.epoch async for _, its_id, holds in self._held(own.cluster_id) if its_id == meant]
        epoch = wanted.epoch or min(max([own.epoch, *known]) + 1, EPOCH_MAX)
        done = f"the epoch is {epoch} now"
        if cluster_id is not None:
            done = f"this is the cluster {cluster_id} now, and {done}"
        revisions = await self._configs.begin_epoch(
            call.principal.who,
            arrived=call.arrived,
            epoch=epoch,
            cluster_id=cluster_id,
            comment=wanted.comment or done,
            attempt=call.attempt,
        )
        made = sorted((each.configuration for each in revisions), key=lambda each: each.namespace)
        return {
            "message": f"{done[0].upper()}{done[1:]}",
            "epoch": epoch,
            "cluster_id": meant,
            "namespaces": [{"name": each.namespace, "version": each.version, "epoch": each.epoch} for each in made],
        }

    async def _held(self, own: str) -> AsyncIterator[tuple[CompactAgent, str, Tag]]:
        """What agents said that their workers have, with the cluster that it is of; what cannot be is left out."""
        for namespace in self._registry.rows.namespaces():
            async for agents in walk_agents(self._registry, self._clock, namespace):
                for agent in agents:
                    holds = None if agent.report is None else agent.report.holds
                    if agent.report is None or holds is None or not holds.cluster or holds.epoch > EPOCH_BELIEVED:
                        continue
                    cluster_id = agent.report.holds_cluster_id or (own if own.startswith(holds.cluster) else "")
                    if cluster_id.startswith(holds.cluster):
                        yield agent, cluster_id, holds

    def _is_ahead(self, record: CompactAgent, holds: Tag) -> bool:
        # The candidate of a rollout is above the current version.
        lane = self._snapshot.lane(record.namespace)
        newest = self._snapshot.find(record.namespace) if lane is None else lane.encoded
        return newest is not None and (holds.epoch, holds.version) > newest.order


def _item(controller: ControllerRecord) -> ControllerItem:
    return {
        "address": controller.address,
        "release": controller.release,
        "state": "lost" if controller.lost else "running",
        "started_at": rfc3339(controller.started_at),
        "heard_at": rfc3339(controller.heard_at),
        "seen_seq": controller.seen_seq,
        "lag": controller.lag,
    }
