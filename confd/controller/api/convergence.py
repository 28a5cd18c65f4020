"""Who runs a version: the paths."""

from __future__ import annotations

from attrs import define

from confd.controller.api.schemas import ConvergenceBody
from confd.controller.configs.snapshot import Snapshot
from confd.controller.convergence.tracker import Convergence
from confd.errors import Gone
from confd.web.api.endpoint import Call, NamespaceQuery, endpoint
from confd.web.auth.basic import Role
from confd.web.openapi.docs import Docs

_DOCS = Docs(errors=(Gone,), tag="convergence")


@define(eq=False)
class ConvergenceApi:
    """Asks the L{Convergence}."""

    _convergence: Convergence
    _snapshot: Snapshot

    @endpoint(
        "GET",
        "/api/v1/config/convergence",
        Role.ADMIN,
        "Who runs the version in force.",
        query=NamespaceQuery,
        docs=_DOCS,
    )
    async def in_force(self, call: Call) -> ConvergenceBody:
        """By state, with the time it took, and the first hundred who lag."""
        self._snapshot.get(call.query.namespace)
        return await self._convergence.describe(call.query.namespace, None)

    @endpoint(
        "GET",
        "/api/v1/config/versions/<int:version>/convergence",
        Role.ADMIN,
        "Who came to run a version.",
        query=NamespaceQuery,
        docs=_DOCS,
    )
    async def of_version(self, call: Call, version: int) -> ConvergenceBody:
        """The same of any version; of one long past a summary."""
        self._snapshot.get(call.query.namespace)
        return await self._convergence.describe(call.query.namespace, version)
