"""The paths of rollouts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, evolve

from confd.codec import strict_json
from confd.controller.agents.registry import Registry
from confd.controller.api.change_options import (
    ChangeQuery,
    bad_field,
    change_draft,
    check_proposal,
    conditions,
)
from confd.controller.api.change_schemas import ProposedBody
from confd.controller.api.proposals import Proposals, naming_the_proposal
from confd.controller.api.rollout_requests import (
    STATES,
    CheckRequest,
    MembersQuery,
    PromoteRequest,
    ReplaceRequest,
    RolloutsQuery,
    StartQuery,
    StartRequest,
    VerbRequest,
)
from confd.controller.api.rollout_schemas import (
    MemberPage,
    RolloutBody,
    RolloutPage,
    RolloutStartBody,
    member_item,
    named_members,
    rollout_item,
    whole_rollout,
)
from confd.controller.api.rollout_starts import RolloutStarts
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.service import Configs
from confd.controller.convergence.tracker import Convergence
from confd.controller.rollouts.plans import DIRECT, PlanSpec, parse_plan
from confd.controller.rollouts.service import Rollouts, Wish
from confd.controller.rollouts.transitions import etag_of
from confd.controller.rollouts.views import RolloutView
from confd.errors import Conflict, Gone, NotFound, PreconditionFailed, Unprocessable
from confd.model import Draft
from confd.rollouts.errors import unknown_plan
from confd.rollouts.plan import SUPERSEDE
from confd.runtime.offload import Offload
from confd.web.api.endpoint import Answer, BreakGlassQuery, Call, Scope, endpoint
from confd.web.auth.principals import Permission, forbidden
from confd.web.openapi.docs import ETAG, IDEMPOTENCY_KEY, IF_MATCH, Docs

_TAG = "rollouts"

_VERB_DOCS = Docs(
    {200: RolloutBody}, (Conflict, NotFound, PreconditionFailed), takes=(IF_MATCH,), gives=(ETAG,), tag=_TAG
)


@define(eq=False)
class RolloutsApi:
    """Shows rollouts, and changes them for people."""

    _rollouts: Rollouts
    _starts: RolloutStarts
    _proposals: Proposals
    _configs: Configs
    _reader: ConfigReader
    _registry: Registry
    _convergence: Convergence
    _offload: Offload

    @endpoint(
        "POST",
        "/api/v1/rollouts",
        Permission.CONFIG_PUBLISH,
        "Start a rollout.",
        query=StartQuery,
        body=StartRequest,
        max_body=None,
        docs=Docs(
            {202: (RolloutStartBody, ProposedBody)},
            (Conflict, PreconditionFailed, NotFound, Gone, Unprocessable),
            takes=(IF_MATCH, IDEMPOTENCY_KEY),
            gives=(ETAG,),
            example={"config": {"url": "https://api.github.com"}, "plan": {"waves": [{"count": 1}]}},
            tag=_TAG,
        ),
    )
    async def start(self, call: Call) -> Answer:
        """Publish a candidate and expose the first wave. The C{ETag} is the tag of the candidate."""
        wanted: StartRequest = call.body
        query: StartQuery = call.query
        if query.propose:
            check_proposal(break_glass=query.break_glass)
            if not isinstance(wanted.plan, str):
                raise bad_field("plan", "A proposal takes the name of a saved plan.")
        else:
            await self._reader.require(query.namespace)
        if isinstance(wanted.plan, str):
            if wanted.plan in (DIRECT, SUPERSEDE):
                raise unknown_plan(wanted.plan)
            spec: PlanSpec = await self._rollouts.plan(wanted.plan)
        else:
            spec = parse_plan(wanted.plan, wanted.plan.get("name") or "inline")
        draft = await self._draft(call, query.namespace, wanted, **conditions(call, spec.name))
        if query.propose:
            return await self._proposals.propose_draft(call, draft, spec.name)
        if not isinstance(wanted.plan, str):
            return await self._starts.start(ChangeQuery(), draft, spec)
        with naming_the_proposal("/api/v1/rollouts", None):
            return await self._starts.start(ChangeQuery(), draft, spec)

    @endpoint(
        "GET",
        "/api/v1/rollouts",
        Permission.ROLLOUTS_READ,
        "The rollouts of a namespace.",
        query=RolloutsQuery,
        docs=Docs(tag=_TAG),
    )
    async def list_rollouts(self, call: Call) -> RolloutPage:
        """List rollouts, newest first."""
        query: RolloutsQuery = call.query
        await self._reader.require(query.namespace)
        states = STATES if query.state is None else (query.state,)
        found = await self._rollouts.page(query.namespace, states, query.limit + 1, query.before)
        body: RolloutPage = {"items": [rollout_item(each) for each in found[: query.limit]]}
        if len(found) > query.limit:
            body["next"] = found[query.limit - 1].id
        return body

    @endpoint(
        "GET",
        "/api/v1/rollouts/<int:number>",
        Permission.ROLLOUTS_READ,
        "One rollout.",
        scope=Scope.ROLLOUT,
        docs=Docs({200: RolloutBody}, (NotFound,), gives=(ETAG,), tag=_TAG),
    )
    async def rollout(self, call: Call, number: int) -> Answer:
        """Show a rollout with its waves, its members by outcome, and what its gate needs."""
        return self._answer(await self._rollouts.find(number))

    @endpoint(
        "GET",
        "/api/v1/rollouts/<int:number>/agents",
        Permission.ROLLOUTS_READ,
        "The members of a rollout.",
        scope=Scope.ROLLOUT,
        query=MembersQuery,
        docs=Docs(errors=(NotFound,), tag=_TAG),
    )
    async def members(self, call: Call, number: int) -> MemberPage:
        """List the members of a rollout by id."""
        query: MembersQuery = call.query
        view = await self._rollouts.find(number)
        found = [each for each in named_members(view, query.outcome) if each.agent_id > query.after]
        records = [(each, self._registry.find(each.agent_id)) for each in found[: query.limit]]
        body: MemberPage = {
            "items": [member_item(view, each, None if record is None else record.hostname) for each, record in records]
        }
        if len(found) > query.limit:
            body["next"] = found[query.limit - 1].agent_id
        return body

    @endpoint(
        "POST",
        "/api/v1/rollouts/<int:number>/pause",
        Permission.ROLLOUT_STOP,
        "Pause a rollout.",
        scope=Scope.ROLLOUT,
        body=VerbRequest,
        optional_body=True,
        docs=_VERB_DOCS,
    )
    async def pause(self, call: Call, number: int) -> Answer:
        """Pause a rollout: members keep the candidate, and no agent is exposed."""
        return await self._verb(call, number, self._rollouts.pause)

    @endpoint(
        "POST",
        "/api/v1/rollouts/<int:number>/resume",
        Permission.ROLLOUT_ADVANCE,
        "Resume a paused rollout.",
        scope=Scope.ROLLOUT,
        query=BreakGlassQuery,
        body=VerbRequest,
        optional_body=True,
        docs=_VERB_DOCS,
    )
    async def resume(self, call: Call, number: int) -> Answer:
        """Resume a paused rollout. Failures of its present members count no longer."""
        return await self._verb(call, number, self._rollouts.resume)

    @endpoint(
        "POST",
        "/api/v1/rollouts/<int:number>/promote",
        (Permission.ROLLOUT_ADVANCE, Permission.ROLLOUT_PROMOTE_HELD),
        "Start the next wave, or the last one, without its gate.",
        scope=Scope.ROLLOUT,
        query=BreakGlassQuery,
        body=PromoteRequest,
        optional_body=True,
        docs=_VERB_DOCS,
    )
    async def promote(self, call: Call, number: int) -> Answer:
        """
        Start the next wave that adds an agent, or the last one. The audit log names the gate that was skipped.

        With C{rollout.promote_held} alone, a caller starts the next wave of a rollout that waits in a wave that
        holds.
        """
        refusal, to_all = None, call.body.to == "all"
        assert call.attempt is not None
        namespace = call.attempt.namespace
        if not call.principal.may(Permission.ROLLOUT_ADVANCE, namespace):
            refusal = forbidden(call.principal, (Permission.ROLLOUT_ADVANCE,), namespace)
            if to_all:
                raise refusal

        async def promote(number: int, wish: Wish) -> RolloutView:
            return await self._rollouts.promote(number, to_all, wish, refusal)

        return await self._verb(call, number, promote)

    @endpoint(
        "POST",
        "/api/v1/rollouts/<int:number>/abort",
        Permission.ROLLOUT_STOP,
        "Abort a rollout.",
        scope=Scope.ROLLOUT,
        body=VerbRequest,
        optional_body=True,
        docs=_VERB_DOCS,
    )
    async def abort(self, call: Call, number: int) -> Answer:
        """Abort a rollout: one new version with the document of the base goes to all agents."""
        return await self._verb(call, number, self._rollouts.abort)

    @endpoint(
        "POST",
        "/api/v1/rollouts/<int:number>/checks",
        Permission.CHECK_POST,
        "Post the verdict of a check on a rollout.",
        scope=Scope.ROLLOUT,
        body=CheckRequest,
        docs=evolve(_VERB_DOCS, example={"name": "slo", "pass": True}),
    )
    async def post_check(self, call: Call, number: int) -> Answer:
        """Record a verdict for the present step; the last one of a name counts. A failed check stops the rollout."""
        name, passed, post = call.body.name, call.body.passed, self._rollouts.post_check
        return await self._verb(call, number, lambda number, wish: post(number, name, passed, wish))

    @endpoint(
        "POST",
        "/api/v1/rollouts/<int:number>/replace",
        Permission.CONFIG_PUBLISH,
        "Give a rollout another candidate.",
        scope=Scope.ROLLOUT,
        query=BreakGlassQuery,
        body=ReplaceRequest,
        max_body=None,
        docs=Docs(
            {200: RolloutBody},
            (Conflict, NotFound, PreconditionFailed, Gone, Unprocessable),
            takes=(IF_MATCH,),
            gives=(ETAG,),
            example={"rollback_of": 7},
            tag=_TAG,
        ),
    )
    async def replace(self, call: Call, number: int) -> Answer:
        """Publish another candidate for the same members; the gate of the first wave judges it on all of them."""
        view = await self._rollouts.find(number)
        draft = await self._draft(call, view.rollout.namespace, call.body, arrived=call.arrived)

        async def replace(number: int, wish: Wish) -> RolloutView:
            return await self._rollouts.replace(number, draft, wish)

        return await self._verb(call, number, replace)

    async def _verb(self, call: Call, number: int, act: Callable[[int, Wish], Awaitable[RolloutView]]) -> Answer:
        assert call.attempt is not None
        comment = "" if call.body is None else call.body.comment
        return self._answer(await act(number, Wish(call.header("If-Match"), call.attempt, comment)))

    async def _draft(self, call: Call, namespace: str, wanted: ReplaceRequest, **rest: Any) -> Draft:
        rest |= {"comment": wanted.comment, "poll_interval": wanted.poll_interval_seconds}
        configs, offload = self._configs, self._offload
        return await change_draft(configs, offload, namespace, wanted.config, wanted.rollback_of, call, **rest)

    def _answer(self, view: RolloutView) -> Answer:
        body = whole_rollout(self._convergence, view)
        return Answer(strict_json.encode(body), headers={"ETag": f'"{etag_of(view.rollout)}"'})
