"""Endpoints of changes that wait for approvals or for their time."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from attrs import define

from confd.access.change_requests import PENDING, STATES, ChangeJudge, Signer
from confd.codec import strict_json
from confd.codec.headers import parse_rfc3339
from confd.controller.access import change_rules
from confd.controller.access.change_requests import ChangeRequests
from confd.controller.access.change_rules import MAX_AHEAD, MIN_AHEAD, Proposal, signer_of
from confd.controller.access.freezes import Freezes
from confd.controller.api.change_options import bad_field, change_draft, nested_draft
from confd.controller.api.change_schemas import (
    ApplyRequest,
    ApproveRequest,
    ChangeBody,
    ChangeItem,
    ChangePage,
    ChangesQuery,
    ContentRequest,
    ProposeRequest,
    RejectRequest,
    ReplacedBody,
    ScheduleRequest,
    WithdrawRequest,
)
from confd.controller.api.proposals import Proposals
from confd.controller.api.publishing import Publishing
from confd.controller.api.rollout_schemas import RolloutStartBody
from confd.controller.api.schemas import PublishBody
from confd.controller.configs.diff import difference
from confd.controller.configs.service import Configs
from confd.controller.configs.snapshot import Snapshot
from confd.errors import Conflict, Forbidden, Gone, NotFound, Unprocessable
from confd.model import Configuration
from confd.runtime.offload import Offload
from confd.web.api.endpoint import Answer, BreakGlassQuery, Call, NamespaceQuery, Scope, endpoint
from confd.web.auth.principals import CLUSTER, Permission, forbidden
from confd.web.openapi.docs import ETAG, Docs

_TAG, _PATH = "changes", "/api/v1/changes/<int:number>"

_VERB_DOCS = Docs({200: ChangeItem}, (Conflict, NotFound), tag=_TAG)


@define(eq=False)
class ChangesApi:
    """Shows changes, and proposes, approves, schedules and applies them for people."""

    _changes: ChangeRequests
    _proposals: Proposals
    _freezes: Freezes
    _configs: Configs
    _snapshot: Snapshot
    _publishing: Publishing
    _offload: Offload

    @endpoint(
        "POST",
        "/api/v1/changes",
        Permission.CHANGE_PROPOSE,
        "Propose a change.",
        query=NamespaceQuery,
        body=ProposeRequest,
        max_body=None,
        docs=Docs(
            {201: ChangeItem},
            (Conflict, Forbidden, NotFound, Gone, Unprocessable),
            example={"config": {"url": "https://api.github.com"}, "comment": "the new mirror"},
            tag=_TAG,
        ),
    )
    async def propose_change(self, call: Call) -> Answer:
        """
        Propose a change of a namespace. It waits for the approvals that the policy asks for, and then for its time, or
        for a person who applies it.
        """
        wanted: ProposeRequest = call.body
        namespace: str = call.query.namespace
        at = self._time(call, namespace, wanted.at)
        if wanted.rollout is not None and wanted.plan is not None:
            raise bad_field("plan", "A change of an open rollout keeps the plan; leave plan or rollout away.")
        if wanted.plan is not None:
            await self._changes.check_plan(wanted.plan)
        draft = await change_draft(self._configs, self._offload, namespace, wanted.config, wanted.rollback_of, call)
        proposal = Proposal(
            draft.document,
            wanted.comment,
            wanted.rollback_of,
            wanted.rollout,
            wanted.plan or "",
            wanted.poll_interval_seconds,
            at,
        )
        item, headers = await self._proposals.propose(call, namespace, proposal)
        return Answer(strict_json.encode(item), 201, headers)

    @endpoint(
        "GET",
        "/api/v1/changes",
        Permission.CHANGES_READ,
        "The changes of a namespace.",
        query=ChangesQuery,
        docs=Docs(tag=_TAG),
    )
    async def list_changes(self, call: Call) -> ChangePage:
        """List changes without their documents, newest first."""
        query: ChangesQuery = call.query
        states = STATES if query.state is None else PENDING if query.state == "pending" else (query.state,)
        found = await self._changes.page(query.namespace, states, query.limit + 1, query.before)
        body: ChangePage = {"items": [self._proposals.item(each) for each in found[: query.limit]]}
        if len(found) > query.limit:
            body["next"] = found[query.limit - 1].id
        return body

    @endpoint("GET", _PATH, Permission.CHANGES_READ, "One change.", scope=Scope.CHANGE, docs=_VERB_DOCS)
    async def change(self, call: Call, number: int) -> ChangeBody:
        """Show a change with its document, and with what it alters in the current one."""
        change = await self._changes.find(number)
        body: ChangeBody = {**self._proposals.item(change)}  # type: ignore[typeddict-item]
        if change.document is None:
            return body
        body["config"] = msgspec.Raw(change.document.raw)
        current = self._snapshot.find(change.namespace)
        if current is not None and change.pending:
            there = current.configuration
            would_be = Configuration(
                there.cluster_id,
                there.epoch,
                there.version,
                there.namespace,
                change.document,
                change.poll_interval or there.poll_interval,
                there.updated_at,
            )
            size = there.size + would_be.size
            found = await self._offload.run(size, difference, there, would_be, f"change {number}")
            body["diff"] = {"patch": found.patch, "text": found.text}
        return body

    @endpoint(
        "POST",
        f"{_PATH}/approve",
        Permission.CHANGE_APPROVE,
        "Approve a change.",
        scope=Scope.CHANGE,
        body=ApproveRequest,
        docs=_VERB_DOCS,
    )
    async def approve(self, call: Call, number: int) -> ChangeItem:
        """
        Approve a change as it was read. Nobody approves an own change, and a subject counts once. The approval is void
        once the change is edited.
        """
        assert call.attempt is not None
        signer, wanted = signer_of(call.principal), call.body
        judge = change_rules.approve(signer, wanted.checksum, wanted.comment, call.attempt.made_at)
        return await self._step(call, number, judge, signer)

    @endpoint(
        "POST",
        f"{_PATH}/reject",
        Permission.CHANGE_APPROVE,
        "Reject a change.",
        scope=Scope.CHANGE,
        body=RejectRequest,
        docs=_VERB_DOCS,
    )
    async def reject(self, call: Call, number: int) -> ChangeItem:
        """End a change with a reason."""
        assert call.attempt is not None
        return await self._step(call, number, change_rules.reject(call.body.comment, call.attempt.made_at))

    @endpoint(
        "POST",
        f"{_PATH}/withdraw",
        Permission.CHANGE_PROPOSE,
        "Withdraw a change.",
        scope=Scope.CHANGE,
        body=WithdrawRequest,
        optional_body=True,
        docs=_VERB_DOCS,
    )
    async def withdraw(self, call: Call, number: int) -> ChangeItem:
        """End an own change; an admin ends the change of another caller, too."""
        assert call.attempt is not None
        is_admin = call.principal.may(Permission.ADMIN, CLUSTER)
        signer, comment = signer_of(call.principal), call.body.comment
        judge = change_rules.withdraw(signer, is_admin, comment, call.attempt.made_at)
        return await self._step(call, number, judge)

    @endpoint(
        "POST",
        f"{_PATH}/schedule",
        Permission.CONFIG_PUBLISH,
        "Set the time of a change.",
        scope=Scope.CHANGE,
        body=ScheduleRequest,
        docs=Docs(
            {200: ChangeItem},
            (Conflict, NotFound, Unprocessable),
            example={"at": "2026-12-01T09:00:00+01:00"},
            tag=_TAG,
        ),
    )
    async def schedule(self, call: Call, number: int) -> ChangeItem:
        """
        Set when a change is applied: from one minute to 366 days ahead, and outside of the freezes that are known. At
        that time its approvals, the policy and freezes are checked again.
        """
        assert call.attempt is not None
        at = self._time(call, call.attempt.namespace, call.body.at)
        judge = change_rules.schedule(signer_of(call.principal), at, call.attempt.made_at)
        return await self._step(call, number, judge)

    @endpoint(
        "POST",
        f"{_PATH}/rebase",
        Permission.CHANGE_PROPOSE,
        "Write a change again, on the current document.",
        scope=Scope.CHANGE,
        body=ContentRequest,
        optional_body=True,
        max_body=None,
        docs=Docs({200: ChangeItem}, (Conflict, NotFound, Gone, Unprocessable), tag=_TAG),
    )
    async def rebase(self, call: Call, number: int) -> ChangeItem:
        """
        Write a change against the document that is current now. The caller becomes its author; its approvals and its
        time are dropped.
        """
        assert call.attempt is not None
        wanted: ContentRequest = call.body
        change = await self._changes.find(number)
        change_rules.check_document(change)
        document = change.document
        if wanted.config is not None:
            draft = await nested_draft(self._configs, self._offload, change.namespace, wanted.config, call)
            document = draft.document
        assert document is not None
        proposal = Proposal(
            document,
            wanted.comment or change.comment,
            change.rollback_of if wanted.config is None else None,
            change.rollout,
            change.plan,
            change.poll_interval,
        )
        signer = signer_of(call.principal)
        return await self._step(call, number, change_rules.rebase(signer, proposal, call.attempt.made_at), signer)

    @endpoint(
        "POST",
        f"{_PATH}/apply",
        Permission.CONFIG_PUBLISH,
        "Apply a change now.",
        query=BreakGlassQuery,
        scope=Scope.CHANGE,
        body=ApplyRequest,
        optional_body=True,
        docs=Docs(
            {200: (PublishBody, ReplacedBody), 202: RolloutStartBody},
            (Conflict, NotFound, Unprocessable),
            gives=(ETAG,),
            tag=_TAG,
        ),
    )
    async def apply(self, call: Call, number: int) -> Answer:
        """Publish a change that has its approvals, or start its rollout. The answer is that of the publish."""
        assert call.attempt is not None
        prepared = await self._changes.prepare(number, call.attempt, call.arrived)
        if call.body.checksum not in (None, prepared.change.checksum):
            raise change_rules.checksum_mismatch(prepared.change)
        return await self._changes.noting(number, self._publishing.apply(prepared, call.attempt))

    async def _step(self, call: Call, number: int, judge: ChangeJudge, signer: Signer | None = None) -> ChangeItem:
        return self._proposals.item(await self._changes.step(number, judge, call.attempt, signer))

    def _time(self, call: Call, namespace: str, text: str | None) -> datetime | None:
        """
        Return the time of a change, UTC.

        @raise Forbidden: the caller may not publish.
        @raise Unprocessable: C{bad_schedule}.
        @raise Conflict: C{frozen}.
        """
        if text is None:
            return None
        if not call.principal.may(Permission.CONFIG_PUBLISH, namespace):
            raise forbidden(call.principal, (Permission.CONFIG_PUBLISH,), namespace)
        try:
            at = parse_rfc3339(text).astimezone(UTC).replace(microsecond=0)
        except (ValueError, OverflowError):
            raise _bad_schedule(
                f"{text[:64]!r} is no time of RFC 3339 with an offset, such as 2026-12-01T09:00:00+01:00."
            ) from None
        if not MIN_AHEAD <= at - self._changes.now() <= MAX_AHEAD:
            raise _bad_schedule("A change is scheduled at least 60 seconds and at most 366 days ahead.")
        try:
            self._freezes.active_at(namespace, at).check(namespace)
        except Conflict as frozen:
            # The seconds until the end of that freeze are counted from the time of the change.
            frozen.retry_after = None
            raise
        return at


def _bad_schedule(sentence: str) -> Unprocessable:
    return Unprocessable("bad_schedule", sentence, [{"pointer": "/at", "message": sentence}])
