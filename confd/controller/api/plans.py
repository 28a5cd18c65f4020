"""The paths of plans."""

from __future__ import annotations

from attrs import define

from confd.codec.strict_json import JsonObject
from confd.controller.api.rollout_schemas import PlansBody, plan_item
from confd.controller.rollouts.service import Rollouts
from confd.errors import Conflict, NotFound, Unprocessable
from confd.web.api.endpoint import AnyDocument, Call, Scope, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs, MessageBody

_TAG = "rollouts"


@define(eq=False)
class PlansApi:
    """Shows, saves and removes plans."""

    _rollouts: Rollouts

    @endpoint("GET", "/api/v1/plans", Permission.ROLLOUTS_READ, "All plans.", scope=Scope.ANY, docs=Docs(tag=_TAG))
    async def list_plans(self, call: Call) -> PlansBody:
        """List all plans as they were written; C{built_in} marks the plans that cannot be changed."""
        return {"items": [plan_item(each) for each in (await self._rollouts.plans()).values()]}

    @endpoint(
        "POST",
        "/api/v1/plans",
        Permission.ADMIN,
        "Save a plan.",
        body=AnyDocument.OBJECT,
        docs=Docs(
            errors=(Conflict, Unprocessable),
            example={"name": "night", "waves": [{"count": 1}, {"percent": 25}], "bake": 600},
            tag=_TAG,
        ),
    )
    async def save_plan(self, call: Call) -> JsonObject:
        """Save a plan, in place of a plan with its name. Open rollouts keep their copy."""
        return plan_item(await self._rollouts.save_plan(call.body, call.attempt))

    @endpoint(
        "DELETE",
        "/api/v1/plans/<name>",
        Permission.ADMIN,
        "Remove a plan.",
        docs=Docs(errors=(Conflict, NotFound), tag=_TAG),
    )
    async def remove_plan(self, call: Call, name: str) -> MessageBody:
        """Remove a plan. Open rollouts keep their copy."""
        await self._rollouts.remove_plan(name, call.attempt)
        return MessageBody(f"Plan {name} removed")
