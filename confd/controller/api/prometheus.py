"""The endpoint by which Prometheus finds the agents."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import msgspec
from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime

from confd.codec.headers import entity_tags
from confd.controller.agents.registry import Registry
from confd.controller.agents.selection import walk_agents
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.snapshot import Snapshot
from confd.errors import Forbidden, NotFound, Unavailable
from confd.model import DEFAULT_NAMESPACE
from confd.reports import AgentRecord
from confd.runtime.offload import Offload
from confd.web.api.endpoint import Answer, Call, Scope, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import ETAG, IF_NONE_MATCH, Docs

#: Rough bytes of a target.
_TARGET_BYTES = 300

_NO_LABEL = re.compile("[^a-zA-Z0-9_]")


class TargetsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """
    Whose agents to list.

    @ivar namespace: only the agents of this namespace.
    """

    namespace: str | None = None


class TargetGroup(msgspec.Struct):
    """A target as Prometheus reads it (http_sd)."""

    targets: list[str]
    labels: dict[str, str]


@frozen
class _Target:
    """What the list says of an agent."""

    address: str
    fields: Mapping[str, str]
    labels: Mapping[str, str]

    def group(self) -> TargetGroup:
        """Return the target with its labels, by the rules for names of labels."""
        labels = {f"__meta_confd_{name}": value for name, value in self.fields.items()}
        for name, value in sorted(self.labels.items()):
            labels["__meta_confd_label_" + _NO_LABEL.sub("_", name)] = value
        return TargetGroup([self.address], labels)


@define(eq=False)
class PrometheusApi:
    """List the agents that say where they serve their metrics."""

    _registry: Registry
    _snapshot: Snapshot
    _reader: ConfigReader
    _offload: Offload
    _clock: IReactorTime

    @endpoint(
        "GET",
        "/api/v1/prometheus/agents",
        Permission.AGENTS_READ,
        "The agents, for Prometheus.",
        query=TargetsQuery,
        scope=Scope.ANY,
        docs=Docs(
            {200: list[TargetGroup], 304: None},
            (Forbidden, NotFound, Unavailable),
            takes=(IF_NONE_MATCH,),
            gives=(ETAG,),
            tag="agents",
        ),
    )
    async def agents(self, call: Call) -> Answer:
        """
        List the agents with C{AGENT_ADVERTISE}, as Prometheus reads them by C{http_sd_configs}.

        Silent agents stay in the list, so that Prometheus shows them as down. The address is a claim of the agent.
        """
        targets = [each for name in await self._namespaces(call) for each in await self._targets(name)]
        body, tag = await self._offload.run(_TARGET_BYTES * len(targets), _encode, targets)
        headers = {"ETag": f'"{tag}"'}
        known = call.header("If-None-Match")
        if known is not None and not entity_tags(known).isdisjoint({"*", tag}):
            return Answer(status=304, headers=headers)
        return Answer(body, headers=headers)

    async def _namespaces(self, call: Call) -> set[str]:
        wanted, principal = call.query.namespace, call.principal
        if wanted is None:
            # While the controller starts it knows no agents; an error makes Prometheus keep its list.
            self._snapshot.require(DEFAULT_NAMESPACE)
            return {each for each in self._snapshot.namespaces() if principal.may(Permission.AGENTS_READ, each)}
        if not principal.may(Permission.AGENTS_READ, wanted):
            raise Forbidden("forbidden", f"This needs the permission agents.read in the namespace {wanted!r}.")
        await self._reader.require(wanted)
        return {wanted}

    async def _targets(self, namespace: str) -> Sequence[_Target]:
        found = list[_Target]()
        async for agents in walk_agents(self._registry, self._clock, namespace):
            found += [self._target(each.record()) for each in agents if each.advertises]
        return found

    def _target(self, agent: AgentRecord) -> _Target:
        fields = {
            "id": agent.id,
            "hostname": agent.hostname,
            "namespace": agent.namespace,
            "strategy": agent.strategy,
        }
        labels = {**self._registry.labels.declared(agent).labels, **agent.labels_set}
        return _Target(agent.advertise, fields, labels)


def _encode(targets: Sequence[_Target]) -> tuple[bytes, str]:
    """Return the body and its tag."""
    ordered = sorted(targets, key=lambda each: each.fields["id"])
    body = msgspec.json.encode([each.group() for each in ordered])
    return body, hashlib.sha256(body).hexdigest()[:32]
