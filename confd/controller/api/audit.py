"""The endpoint of the audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
from attrs import define
from twisted.internet.defer import Deferred

from confd.audit import AuditEntry
from confd.errors import Unavailable
from confd.interfaces import IAuditStore
from confd.web.api.endpoint import Call, Scope, endpoint
from confd.web.auth.principals import CLUSTER, Permission
from confd.web.openapi.docs import Docs


class AuditQuery(msgspec.Struct, forbid_unknown_fields=True):
    """
    A page of the audit.

    @ivar limit: entries on the page, at most.
    @ivar before: the C{next} of the page before.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    before: Annotated[int, msgspec.Meta(ge=1)] | None = None


class AuditPage(msgspec.Struct):
    """Entries, newest first; C{next} is the C{before} of the next page, if another page follows."""

    items: Sequence[AuditEntry]
    next: int | msgspec.UnsetType = msgspec.UNSET


@define(eq=False)
class AuditApi:
    """
    Read the audit from the store.

    @ivar flush: fires once waiting refusals are written, or cannot be.
    """

    _store: IAuditStore
    _flush: Callable[[], Deferred[None]]

    @endpoint(
        "GET",
        "/api/v1/audit",
        Permission.AUDIT_READ,
        "Who tried to change what.",
        scope=Scope.ANY,
        query=AuditQuery,
        docs=Docs(errors=(Unavailable,), tag="audit"),
    )
    async def audit(self, call: Call) -> AuditPage:
        """
        List the entries, newest first; C{next} is the C{before} of the next page.

        Entries without a namespace are shown to admins only.
        """
        query: AuditQuery = call.query
        await self._flush()
        principal = call.principal
        patterns = None if principal.may(Permission.ADMIN, CLUSTER) else principal.patterns(Permission.AUDIT_READ)
        found = await self._store.audit(query.limit + 1, query.before, patterns)
        page = found[: query.limit]
        return AuditPage(page, page[-1].number if len(found) > len(page) else msgspec.UNSET)
