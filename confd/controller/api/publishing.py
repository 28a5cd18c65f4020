"""Answers to changes that are applied."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.defer import Deferred

from confd.audit import Attempt
from confd.codec import strict_json
from confd.codec.headers import etag
from confd.controller.access.change_requests import ChangeRequests, Prepared
from confd.controller.api.bodies import publish_body
from confd.controller.api.change_options import ChangeQuery
from confd.controller.api.change_schemas import ReplacedBody
from confd.controller.api.rollout_schemas import whole_rollout
from confd.controller.api.rollout_starts import RolloutStarts
from confd.controller.convergence.tracker import Convergence
from confd.controller.rollouts.service import Rollouts, Wish
from confd.controller.rollouts.transitions import etag_of
from confd.model import Revision
from confd.web.api.endpoint import Answer


@define(eq=False)
class Publishing:
    """
    Applies changes for the API.

    @ivar published: fires with whether every broker has the newest announcement of a namespace.
    """

    _changes: ChangeRequests
    _rollouts: Rollouts
    _starts: RolloutStarts
    _convergence: Convergence
    _published: Callable[[str], Deferred[bool]]

    async def apply(self, prepared: Prepared, attempt: Attempt) -> Answer:
        """Publish a change, start its rollout, or give its rollout the new candidate; answer as these do."""
        change, draft = prepared.change, prepared.draft
        if change.rollout is not None:
            view = await self._rollouts.replace(change.rollout, draft, Wish(None, attempt, change.comment))
            body: ReplacedBody = {**whole_rollout(self._convergence, view), "change": change.id}  # type: ignore[typeddict-item]
            return Answer(strict_json.encode(body), headers={"ETag": f'"{etag_of(view.rollout)}"'})
        made = await self._changes.publish(prepared)
        if not isinstance(made, Revision):
            return await self._starts.start(ChangeQuery(), draft, made)
        there = made.configuration
        answer = publish_body(made, await self._published(there.namespace))
        answer["change"] = change.id
        return Answer(strict_json.encode(answer), headers={"ETag": etag(there.tag)})
