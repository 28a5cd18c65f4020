"""The paths of the current configuration: reading and publishing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from weakref import ref

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from confd.access.policies import PlanRequired
from confd.codec import strict_json
from confd.codec.headers import entity_tags, etag, names_version, not_modified
from confd.controller.access.policies import Policies
from confd.controller.agents.registry import Registry
from confd.controller.api.bodies import publish_body
from confd.controller.api.change_options import (
    CONFIGURATIONS,
    QUORUM,
    TIMEOUT_SECONDS,
    ChangeQuery,
    PublishQuery,
    RollbackRequest,
    conditions,
    rollback_draft,
)
from confd.controller.api.change_schemas import ProposedBody
from confd.controller.api.convergence import read_convergence
from confd.controller.api.proposals import Proposals, naming_the_proposal
from confd.controller.api.rollout_starts import RolloutStarts
from confd.controller.api.schemas import ConvergenceBody, CurrentConfigBody, DryRunBody, PublishBody
from confd.controller.configs.diff import difference
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.service import Configs
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.controller.convergence.tracker import Convergence
from confd.controller.rollouts.plans import PlanSpec
from confd.controller.rollouts.service import Rollouts
from confd.errors import Conflict, Gone, NotFound, PreconditionFailed, TooMany, Unprocessable
from confd.history import VersionSummary, check_changed, check_expected
from confd.model import Configuration, Draft, Revision
from confd.runtime.offload import Offload
from confd.web.api.endpoint import Answer, AnyDocument, Call, NamespaceQuery, endpoint
from confd.web.auth.principals import POLL, Permission
from confd.web.openapi.docs import (
    AGENT_ID,
    CONFIG_CHECKSUM,
    CONFIG_KEYS,
    ETAG,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    Docs,
)

#: Seconds between two polls of an agent of the Go system that received no other interval.
GO_POLL_INTERVAL = 30

#: Limit of the callers that wait for agents at the same time. A caller that hangs up counts until its timeout.
MAX_WAITING_PUBLISHES = 100

_CHANGE_DOCS = Docs(
    {200: (PublishBody, DryRunBody), 202: (PublishBody, ProposedBody)},
    (Conflict, PreconditionFailed),
    takes=(IF_MATCH, IDEMPOTENCY_KEY),
    gives=(ETAG,),
    tag=CONFIGURATIONS,
)


@define(eq=False)
class ConfigsApi:
    """
    Reads from the snapshot, writes through L{Configs}.

    @ivar published: fires with whether every broker has the newest announcement of a namespace.
    """

    _configs: Configs
    _snapshot: Snapshot
    _reader: ConfigReader
    _registry: Registry
    _rollouts: Rollouts
    _rollout_starts: RolloutStarts
    _proposals: Proposals
    _convergence: Convergence
    _policies: Policies
    _published: Callable[[str], Deferred[bool]]
    _offload: Offload
    _waiting: int = field(default=0, init=False)

    @endpoint(
        "GET",
        "/api/v1/config",
        POLL,
        "The current configuration.",
        query=NamespaceQuery,
        docs=Docs(
            {200: CurrentConfigBody, 304: None},
            takes=(IF_NONE_MATCH, AGENT_ID),
            gives=(ETAG, CONFIG_CHECKSUM, CONFIG_KEYS),
            tag=CONFIGURATIONS,
        ),
    )
    async def current(self, call: Call) -> Answer:
        """Answer a poll: 304 if the caller has the current configuration. The database takes no part."""
        known = call.header("If-None-Match")
        namespace = call.query.namespace
        agent_id = self._registry.agent_tokens.sender(call.principal, call.header("X-Agent-ID") or "")
        current = await self._rollouts.served(namespace, known, agent_id)
        headers = {
            "ETag": current.etag,
            "X-Config-Checksum": current.configuration.document.checksum,
            "X-Config-Keys": current.key_ids,
        }
        if current is not self._snapshot.find(namespace):
            headers["X-Confd-Lane"] = "candidate"
        revalidate = None
        by_token = bool(call.principal.agent_id)
        if not agent_id or self._registry.polled(agent_id, by_token):
            revalidate = partial(self._revalidate, namespace, ref(current), agent_id, known, by_token)
        else:
            headers["X-Agent-Known"] = "false"
        if known == current.etag:
            return Answer(status=304, headers=headers, revalidate=revalidate)
        if known is not None and _keeps_other(known, current.configuration, agent_id):
            # These headers would name a document that the caller does not have.
            del headers["ETag"], headers["X-Config-Checksum"], headers["X-Config-Keys"]
            return Answer(status=304, headers=headers, revalidate=revalidate)
        if known is not None and _has_current(known, current.configuration, agent_id):
            return Answer(status=304, headers=headers, revalidate=revalidate)
        return Answer(current.body, headers=headers, revalidate=revalidate)

    def _revalidate(
        self, namespace: str, answered: ref[EncodedConfig], agent_id: str, known: str | None, by_token: bool
    ) -> bool:
        """Return whether the same poll gets the same answer. The weak reference keeps no old document in memory."""
        same = self._rollouts.still_served(namespace, agent_id, known, answered())
        return same and (not agent_id or self._registry.polled(agent_id, by_token))

    @endpoint(
        "POST",
        "/api/v1/config",
        Permission.CONFIG_PUBLISH,
        "Publish a document as the next version.",
        query=PublishQuery,
        body=AnyDocument.OBJECT,
        max_body=None,
        docs=evolve(_CHANGE_DOCS, example={"url": "https://api.github.com"}),
    )
    async def publish(self, call: Call) -> Answer:
        """Publish a document. The answer comes once it is on disk, and enough agents applied it for C{wait}."""
        query: PublishQuery = call.query
        await self._check(query)
        draft = self._configs.draft(
            query.namespace,
            call.body,
            call.document,
            call.principal.who,
            poll_interval=query.poll_interval,
            comment=query.comment,
            **conditions(call, query.rollout, query.if_changed),
        )
        return await self._propose_or_publish(call, draft)

    @endpoint(
        "POST",
        "/api/v1/config/rollback",
        Permission.CONFIG_PUBLISH,
        "Publish the document of an earlier version again.",
        query=ChangeQuery,
        body=RollbackRequest,
        docs=evolve(_CHANGE_DOCS, errors=(*_CHANGE_DOCS.errors, Gone, Unprocessable), example={"version": 7}),
    )
    async def rollback(self, call: Call) -> Answer:
        """Publish an old document as the next version; the poll interval stays."""
        query: ChangeQuery = call.query
        await self._check(query)
        wanted: RollbackRequest = call.body
        draft = await rollback_draft(
            self._configs,
            self._offload,
            query.namespace,
            wanted.version,
            call,
            comment=wanted.comment,
            **conditions(call, query.rollout, query.if_changed),
        )
        return await self._propose_or_publish(call, draft)

    async def _check(self, query: ChangeQuery) -> None:
        query.check()
        if not query.propose:
            # A proposal may create a retired namespace again.
            await self._reader.require(query.namespace)

    async def _propose_or_publish(self, call: Call, draft: Draft) -> Answer:
        query: ChangeQuery = call.query
        if query.propose:
            if query.plan is not None:
                await self._rollouts.plan(query.plan)
            elif query.rollout is not None:
                self._policies.of(query.namespace).check_plan(query.namespace)
            return await self._proposals.propose_draft(call, draft, query.plan)
        path = "/api/v1/config" if draft.rollback_of is None else "/api/v1/config/rollback"
        with naming_the_proposal(path, query.plan):
            return await self._publish_or_preview(query, draft)

    async def _publish_or_preview(self, query: ChangeQuery, draft: Draft) -> Answer:
        plan = None if query.plan is None else await self._rollouts.plan(query.plan)
        if query.dry_run:
            return Answer(strict_json.encode(await self._preview(query, draft, plan)))
        waits = query.wait is not None
        if waits and self._waiting >= MAX_WAITING_PUBLISHES:
            raise TooMany(
                "too_many_waiting",
                f"{MAX_WAITING_PUBLISHES} callers wait for agents already, so nothing was changed; try later, or"
                " without wait.",
            )
        self._waiting += waits
        try:
            if plan is None:
                try:
                    return await self._commit(query, draft)
                except PlanRequired as error:
                    plan = await self._plan_of(query, error)
            return await self._rollout_starts.start(query, draft, plan)
        finally:
            self._waiting -= waits

    async def _plan_of(self, query: ChangeQuery, error: PlanRequired) -> PlanSpec:
        """
        Return the plan that the policy of a namespace asks for.

        @raise PlanRequired: the query asks for no rollout.
        """
        if query.rollout is not None:
            raise error
        return await self._rollouts.plan(error.plan)

    async def _commit(self, query: ChangeQuery, draft: Draft) -> Answer:
        """Publish a draft, and wait for agents if the query has C{wait}."""
        revision = await self._configs.publish(draft)
        made = revision.configuration
        body = publish_body(revision, await self._published(made.namespace))
        status = 200
        if query.wait is not None:
            reached, body["convergence"] = await self._wait_for_quorum(query, made)
            status = 200 if reached else 202
        return Answer(strict_json.encode(body), status, {"ETag": etag(made.tag)})

    async def _preview(self, query: ChangeQuery, draft: Draft, plan: PlanSpec | None) -> DryRunBody:
        """Return the body of a dry run."""
        there = (await self._reader.newest(draft.namespace)).configuration
        check_expected(draft.expected, there.tag)
        try:
            await self._policies.check_draft(draft, plan)
        except PlanRequired as error:
            plan = await self._plan_of(query, error)
        self._rollouts.refuse_while_open(draft)
        if self._rollouts.open_rollout(draft.namespace) is None:
            check_changed(draft, VersionSummary.of(Revision(there, "")))
        would_be = Configuration(
            there.cluster_id,
            there.epoch,
            self._snapshot.newest_version(draft.namespace) + 1,
            there.namespace,
            draft.document,
            draft.poll_interval or there.poll_interval,
            draft.made_at,
        )
        found = await self._offload.run(there.size + would_be.size, difference, there, would_be)
        foreseen: DryRunBody = {
            "message": "Nothing was changed",
            "dry_run": True,
            "version": would_be.version,
            "epoch": would_be.epoch,
            "patch": found.patch,
            "text": found.text,
            "agents": {
                "targeted": self._registry.count(draft.namespace),
                "live": self._registry.live(draft.namespace),
            },
        }
        if draft.rollback_of is not None:
            foreseen["rollback_of"] = draft.rollback_of
        if plan is not None:
            await self._rollout_starts.preview(draft, plan, foreseen)
        return foreseen

    async def _wait_for_quorum(self, query: ChangeQuery, made: Configuration) -> tuple[bool, ConvergenceBody | None]:
        """Wait for a quorum; return whether it was reached in time, and the convergence."""
        quorum, timeout = query.quorum or QUORUM, query.timeout or TIMEOUT_SECONDS
        reached = await self._convergence.reached(made.namespace, made.tag, quorum, timeout)
        try:
            return reached, await read_convergence(self._convergence, made.namespace, made.version)
        except (NotFound, Gone):
            # A retry may name an old version, or the namespace is retired by now: the publish itself is done.
            return reached, None


def _has_current(header: str, current: Configuration, agent_id: str) -> bool:
    """
    Return whether C{If-None-Match} names the current version.

    A bare number without an id comes from an agent of the Go system. Only a 200 tells it a poll interval.
    """
    if agent_id or current.poll_interval == GO_POLL_INTERVAL:
        return not_modified(header, current.tag)
    return not entity_tags(header).isdisjoint({"*", str(current.tag)})


def _keeps_other(header: str, current: Configuration, agent_id: str) -> bool:
    """
    Return whether the sender of C{If-None-Match} keeps a document of another system.

    An agent of the Go system, which has no id, ignores a body with the number that it has.
    """
    if not current.unpublished or not names_version(header):
        return False
    return bool(agent_id) or str(current.version) not in entity_tags(header)
