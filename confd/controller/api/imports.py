"""The path that takes the document and the history of another system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from attrs import define, evolve
from twisted.internet.defer import Deferred

from confd.codec import strict_json
from confd.codec.headers import etag, parse_rfc3339
from confd.controller.api.change_options import CONFIGURATIONS, Comment, PollInterval
from confd.controller.api.schemas import PublishBody
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.service import Configs
from confd.errors import Conflict, Malformed, Unprocessable
from confd.history import OtherHistory
from confd.model import Draft
from confd.runtime.offload import Offload
from confd.web.api.endpoint import Answer, BreakGlassReason, Call, NamespaceQuery, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import ETAG, Docs

#: The highest version that can be imported, and how many versions one request may bring.
HIGHEST, MOST = 10**9, 1000

_AUTHOR = "import"


class ImportQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    How to import.

    @ivar force: import although something was published in the namespace.
    @ivar break_glass: why the import is to pass the policy and the freezes of the namespace.
    """

    force: bool = False
    break_glass: BreakGlassReason | None = None


class ImportedVersion(msgspec.Struct, forbid_unknown_fields=True):
    """A version of the other system; the time is RFC 3339, and the time of the import where it is not given."""

    version: Annotated[int, msgspec.Meta(ge=1, le=HIGHEST)]
    config: dict[str, Any]
    created_at: str = ""


class Import(msgspec.Struct, forbid_unknown_fields=True):
    """Versions of the other system, ascending; the last one is the current one."""

    versions: Annotated[list[ImportedVersion], msgspec.Meta(min_length=1, max_length=MOST)]
    poll_interval_seconds: PollInterval | None = None
    comment: Comment = ""


@define(eq=False)
class ImportsApi:
    """
    Puts the history of another system in the place of version 1, which nobody published.

    @ivar published: see L{confd.controller.api.configs.ConfigsApi}.
    """

    _configs: Configs
    _reader: ConfigReader
    _published: Callable[[str], Deferred[bool]]
    _offload: Offload

    @endpoint(
        "POST",
        "/api/v1/config/import",
        Permission.ADMIN,
        "Go on with the history of another system.",
        query=ImportQuery,
        body=Import,
        max_body=None,
        docs=Docs(
            {200: PublishBody},
            (Conflict, Unprocessable),
            gives=(ETAG,),
            example={"versions": [{"version": 7, "config": {"url": "https://api.github.com"}}]},
            tag=CONFIGURATIONS,
        ),
    )
    async def take(self, call: Call) -> Answer:
        """Import versions with their numbers; missing ones count as pruned."""
        query: ImportQuery = call.query
        wanted: Import = call.body
        await self._reader.require(query.namespace)
        numbers = [each.version for each in wanted.versions]
        if numbers != sorted(set(numbers)):
            raise _bad_versions("The versions must ascend.")
        drafts = [await self._draft(call, each) for each in wanted.versions]
        past = tuple(zip(numbers[:-1], drafts[:-1], strict=True))
        current = self._configs.draft(
            query.namespace,
            wanted.versions[-1].config,
            drafts[-1].document,
            call.principal.who,
            poll_interval=wanted.poll_interval_seconds,
            comment=wanted.comment or f"imported as version {numbers[-1]}",
            arrived=call.arrived,
            attempt=call.attempt,
            continues=OtherHistory(numbers[-1], past, query.force),
        )
        current = evolve(current, made_at=drafts[-1].made_at)
        made = (await self._configs.publish(current)).configuration
        body: PublishBody = {
            "message": "History imported successfully",
            "version": made.version,
            "epoch": made.epoch,
            "published": await self._published(made.namespace),
        }
        return Answer(strict_json.encode(body), 200, {"ETag": etag(made.tag)})

    async def _draft(self, call: Call, given: ImportedVersion) -> Draft:
        """Past documents need not fit the schema, as a rollback looks at that."""
        document = await self._offload.run(call.size, strict_json.document, given.config)
        assert call.attempt is not None, "a change is audited"
        made_at = call.attempt.made_at
        if given.created_at:
            try:
                made_at = parse_rfc3339(given.created_at)
            except ValueError:
                raise _bad_versions(f"created_at of version {given.version} is no time as in RFC 3339.") from None
        return Draft(call.query.namespace, document, _AUTHOR, made_at)


def _bad_versions(sentence: str) -> Malformed:
    return Malformed("bad_field", sentence, [{"pointer": "/versions", "message": sentence}])
