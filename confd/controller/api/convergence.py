"""Endpoints of the convergence of versions."""

from __future__ import annotations

from attrs import define

from confd.codec.selectors import parse_selector
from confd.controller.api.bodies import convergence_body
from confd.controller.api.schemas import ConvergenceBody
from confd.controller.configs.reader import ConfigReader
from confd.controller.convergence.interfaces import IProgress
from confd.errors import Gone
from confd.web.api.endpoint import Call, NamespaceQuery, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs

#: Agents that are named in an answer.
MAX_LAGGARDS = 100

_DOCS = Docs(errors=(Gone,), tag="convergence")


class ConvergenceQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    A namespace and some of its agents.

    @ivar select: only agents that match this selector of labels, in the grammar of Kubernetes.
    """

    select: str = ""


@define(eq=False)
class ConvergenceApi:
    """Read the convergence of versions."""

    _convergence: IProgress
    _reader: ConfigReader

    @endpoint(
        "GET",
        "/api/v1/config/convergence",
        Permission.AGENTS_READ,
        "The convergence of the current version.",
        query=ConvergenceQuery,
        docs=_DOCS,
    )
    async def current(self, call: Call) -> ConvergenceBody:
        """Count the agents by state, with times, and the first hundred that are behind."""
        query: ConvergenceQuery = call.query
        await self._reader.require(query.namespace)
        selector = parse_selector(query.select)
        if selector.requirements:
            return convergence_body(*await self._convergence.selected(query.namespace, selector, MAX_LAGGARDS))
        return await read_convergence(self._convergence, call.query.namespace, None)

    @endpoint(
        "GET",
        "/api/v1/config/versions/<int:version>/convergence",
        Permission.AGENTS_READ,
        "The convergence of a version.",
        query=NamespaceQuery,
        docs=_DOCS,
    )
    async def of_version(self, call: Call, version: int) -> ConvergenceBody:
        """Return the convergence of any version; for an old version, a summary."""
        await self._reader.require(call.query.namespace, version)
        return await read_convergence(self._convergence, call.query.namespace, version)


async def read_convergence(progress: IProgress, namespace: str, version: int | None) -> ConvergenceBody:
    """
    Return the convergence of a version with the agents that are behind.

    @param version: C{None} for the current one.
    @raise NotFound: C{unknown_namespace}, C{unknown_version}.
    @raise Gone: C{convergence_pruned}.
    """
    summary = await progress.summary(namespace, version)
    return convergence_body(summary, await progress.laggards(namespace, version, MAX_LAGGARDS))
