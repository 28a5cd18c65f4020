"""Answer to calls that propose a change, and to calls that propose it in the place of a publish."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define

from confd.access.change_requests import ChangeRequest
from confd.access.policies import ApprovalRequired
from confd.audit import Attempt
from confd.codec import strict_json
from confd.controller.access.change_requests import ChangeRequests
from confd.controller.access.change_rules import Proposal, signer_of
from confd.controller.access.policies import Policies
from confd.controller.api.change_schemas import ChangeItem, ProposedBody, change_item
from confd.controller.configs.snapshot import Snapshot
from confd.errors import Malformed
from confd.history import VersionSummary, check_changed
from confd.model import Draft, Revision
from confd.web.api.endpoint import Answer, Call


@contextmanager
def naming_the_proposal(path: str, plan: str | None) -> Iterator[None]:
    """
    Let C{approval_required} name the call that proposes what the block would publish.

    @param path: of the call that publishes.
    @param plan: value of its parameter C{rollout}; C{None} without one.
    """
    try:
        yield
    except ApprovalRequired as error:
        raise error.proposed_by(path, plan) from None


@define(eq=False)
class Proposals:
    """Proposes changes for the API."""

    _changes: ChangeRequests
    _policies: Policies
    _snapshot: Snapshot

    async def propose(self, call: Call, namespace: str, proposal: Proposal) -> tuple[ChangeItem, dict[str, str]]:
        """Propose a change; return it with the headers of the answer."""
        attempt: Attempt | None = call.attempt
        assert attempt is not None
        made = await self._changes.propose(namespace, proposal, signer_of(call.principal), attempt)
        return self.item(made), {"Location": f"/api/v1/changes/{made.id}"}

    async def propose_draft(self, call: Call, draft: Draft, plan: str | None) -> Answer:
        """
        Propose what a draft would publish.

        @param plan: of the rollout that it would start; C{None} without one.
        @raise Malformed: C{bad_idempotency_key}: a proposal has none.
        @raise Conflict: C{unchanged}.
        """
        if draft.idempotency_key is not None:
            raise Malformed("bad_idempotency_key", "A proposal takes no Idempotency-Key; leave the header out.")
        current = self._snapshot.find(draft.namespace)
        if current is not None:
            check_changed(draft, VersionSummary.of(Revision(current.configuration, "")))
        proposal = Proposal(
            draft.document,
            draft.comment,
            draft.rollback_of,
            plan=plan or "",
            poll_interval=draft.poll_interval,
            expected=draft.expected,
        )
        item, headers = await self.propose(call, draft.namespace, proposal)
        body: ProposedBody = {"change": item}
        return Answer(strict_json.encode(body), 202, headers)

    def item(self, change: ChangeRequest) -> ChangeItem:
        """Return a change as the API shows it."""
        return change_item(change, self._policies.of(change.namespace).approvals)
