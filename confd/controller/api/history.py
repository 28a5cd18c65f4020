"""The paths of earlier versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from attrs import define, frozen

from confd.access.change_requests import Origin
from confd.codec.headers import rfc3339
from confd.controller.api.bodies import approval_items
from confd.controller.api.change_options import VersionNumber
from confd.controller.api.schemas import DiffBody, HistoryPage, VersionBody, VersionItem
from confd.controller.configs.diff import difference
from confd.controller.configs.reader import ConfigReader
from confd.controller.interfaces import IPolicyStore, IRolloutStore
from confd.errors import Gone
from confd.history import VersionSummary
from confd.interfaces import IChangeRequestStore, IConfigStore
from confd.model import Revision
from confd.runtime.offload import Offload
from confd.web.api.endpoint import Call, NamespaceQuery, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs

_DOCS = Docs(errors=(Gone,), tag="history")


class HistoryQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    A page of the history.

    @ivar limit: versions on it, at most.
    @ivar before: the C{next} of the page before.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    before: VersionNumber | None = None


class DiffQuery(NamespaceQuery, forbid_unknown_fields=True, kw_only=True):
    """
    Two versions.

    @ivar from_: the number of the old one.
    @ivar to: number of the newer version; default: the current one.
    """

    from_: VersionNumber = msgspec.field(name="from")
    to: VersionNumber | None = None


@frozen
class _More:
    """
    The facts of a version that its line in the history leaves out.

    @ivar fate: its rollout, and its fate as a candidate.
    @ivar reason: of the break-glass call that published it.
    @ivar origin: the change that it came from.
    """

    fate: tuple[int, str] | None
    reason: str | None
    origin: Origin | None


@define(eq=False)
class HistoryApi:
    """Reads from the store; a namespace that was retired has no history to show until it is made again."""

    _store: IConfigStore
    _rollouts: IRolloutStore
    _policies: IPolicyStore
    _changes: IChangeRequestStore
    _reader: ConfigReader
    _offload: Offload

    @endpoint(
        "GET",
        "/api/v1/config/history",
        Permission.CONFIG_READ,
        "The versions of a namespace.",
        query=HistoryQuery,
        docs=_DOCS,
    )
    async def history(self, call: Call) -> HistoryPage:
        """List the versions, newest first, without documents; C{next} is the C{before} of the next page."""
        query: HistoryQuery = call.query
        await self._reader.require(query.namespace)
        found = await self._store.history(query.namespace, query.limit + 1, query.before)
        page = found[: query.limit]
        numbers = [each.tag.version for each in page]
        more = await self._read_more(query.namespace, numbers)
        body: HistoryPage = {"items": [_line(each, more[each.tag.version]) for each in page]}
        if len(found) > len(page):
            body["next"] = page[-1].tag.version
        return body

    @endpoint(
        "GET",
        "/api/v1/config/versions/<int:version>",
        Permission.CONFIG_READ,
        "One version.",
        query=NamespaceQuery,
        docs=_DOCS,
    )
    async def version(self, call: Call, version: int) -> VersionBody:
        """Return the document of a version, with its author and comment."""
        await self._reader.require(call.query.namespace)
        revision = await self._store.revision(call.query.namespace, version)
        more = await self._read_more(call.query.namespace, [version])
        return _described(revision, more[version])

    async def _read_more(self, namespace: str, numbers: Sequence[int]) -> Mapping[int, _More]:
        """Return by version what the history does not hold."""
        fates = await self._rollouts.fates(namespace, numbers)
        reasons = await self._policies.break_glass_reasons(namespace, numbers)
        origins = await self._changes.origins(namespace, numbers)
        return {each: _More(fates.get(each), reasons.get(each), origins.get(each)) for each in numbers}

    @endpoint(
        "GET",
        "/api/v1/config/diff",
        Permission.CONFIG_READ,
        "What two versions differ in.",
        query=DiffQuery,
        docs=_DOCS,
    )
    async def diff(self, call: Call) -> DiffBody:
        """Compare two versions, for programs (RFC 6902) and for people."""
        query: DiffQuery = call.query
        current = (await self._reader.newest(query.namespace)).configuration
        old = (await self._store.revision(query.namespace, query.from_)).configuration
        new = current if query.to is None else (await self._store.revision(query.namespace, query.to)).configuration
        found = await self._offload.run(old.size + new.size, difference, old, new)
        return {"from": old.version, "to": new.version, "patch": found.patch, "text": found.text}


def _line(version: VersionSummary, more: _More) -> VersionItem:
    """Return a version."""
    described: VersionItem = {
        "version": version.tag.version,
        "epoch": version.tag.epoch,
        "tag": str(version.tag),
        "created_at": rfc3339(version.created_at),
        "author": version.author,
        "comment": version.comment,
        "checksum": version.checksum,
        "poll_interval_seconds": version.poll_interval,
    }
    if version.rollback_of is not None:
        described["rollback_of"] = version.rollback_of
    if more.fate is not None:
        described["rollout"], state = more.fate
        if state != "activated":
            described["state"] = "dropped" if state == "dropped" else "candidate"
    if more.reason is not None:
        described["break_glass"] = more.reason
    if more.origin is not None:
        described["change"], described["approvals"] = more.origin.change, approval_items(more.origin.approvals)
    return described


def _described(revision: Revision, more: _More) -> VersionBody:
    there = revision.configuration
    return {
        **_line(VersionSummary.of(revision), more),
        "namespace": there.namespace,
        "cluster_id": there.cluster_id,
        "updated_at": rfc3339(there.updated_at),
        "data": msgspec.Raw(there.document.raw),
    }
