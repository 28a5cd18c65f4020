"""Start rollouts: the answer to a publish with a plan."""

from __future__ import annotations

from attrs import define

from confd.codec import strict_json
from confd.codec.headers import etag
from confd.controller.api.change_options import QUORUM, TIMEOUT_SECONDS, ChangeQuery
from confd.controller.api.convergence import read_convergence
from confd.controller.api.rollout_schemas import RolloutBody, RolloutStartBody, rollout_body
from confd.controller.api.schemas import DryRunBody
from confd.controller.convergence.tracker import Convergence
from confd.controller.rollouts.plans import PlanSpec
from confd.controller.rollouts.service import Rollouts
from confd.errors import Conflict, Gone, NotFound
from confd.model import Draft
from confd.web.api.endpoint import Answer


@define(eq=False)
class RolloutStarts:
    """Starts and previews rollouts for the API."""

    _rollouts: Rollouts
    _convergence: Convergence

    async def start(self, query: ChangeQuery, draft: Draft, spec: PlanSpec) -> Answer:
        """
        Start a rollout; with C{wait}, answer when it has ended.

        @raise Conflict: C{rollout_aborted}, C{rollout_superseded}.
        """
        stepped, warnings = await self._rollouts.start(draft, spec)
        revision = stepped.revision
        assert revision is not None
        made, number = revision.configuration, stepped.rollout.id
        status = 202
        body: RolloutStartBody = {
            "message": f"Rollout {number} started",
            "version": made.version,
            "epoch": made.epoch,
            "published": False,
            "rollout": await self._body(number),
        }
        if warnings:
            body["rollout"]["warnings"] = list(warnings)
        if revision.rollback_of is not None:
            body["rollback_of"] = revision.rollback_of
        if draft.applies is not None:
            body["change"] = draft.applies.change
        if query.wait is not None:
            await self._rollouts.over(number, made.namespace, query.timeout or TIMEOUT_SECONDS)
            body["rollout"] = await self._body(number)
            state = body["rollout"]["state"]
            if state in ("aborted", "superseded"):
                raise Conflict(
                    f"rollout_{state}",
                    f"Rollout {number} was {state}; the current version is {body['rollout']['ended_as']}.",
                )
            try:
                body["convergence"] = await read_convergence(self._convergence, made.namespace, made.version)
                totals = await self._convergence.totals(made.namespace, made.version)
                if state == "completed" and totals.reached(query.quorum or QUORUM):
                    status = 200
            except (NotFound, Gone):
                body["convergence"] = None
        headers = {"ETag": etag(made.tag), "Location": f"/api/v1/rollouts/{number}"}
        return Answer(strict_json.encode(body), status, headers)

    async def preview(self, draft: Draft, spec: PlanSpec, body: DryRunBody) -> None:
        """Add what a rollout would do to the body of a dry run."""
        preview = await self._rollouts.preview(draft, spec)
        body["waves"] = [{"members": members, "sample": list(sample)} for members, sample in preview.waves]
        body["unfit"], body["cannot_report"] = preview.unfit, preview.cannot_report

    async def _body(self, number: int) -> RolloutBody:
        return rollout_body(await self._rollouts.find(number))
