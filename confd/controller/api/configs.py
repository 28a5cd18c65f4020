"""The paths of the current configuration: reading and publishing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal
from weakref import ref

import msgspec
from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from confd.codec import strict_json
from confd.codec.headers import entity_tags, etag, names_version, not_modified
from confd.controller.agents.registry import Registry
from confd.controller.api.convergence import read_convergence
from confd.controller.api.schemas import ConvergenceBody, CurrentConfigBody, DryRunBody, PublishBody
from confd.controller.configs.diff import difference
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.service import Configs
from confd.controller.configs.snapshot import EncodedConfig, Snapshot
from confd.controller.convergence.tracker import Convergence
from confd.errors import Conflict, Gone, Malformed, NotFound, PreconditionFailed, TooMany, Unprocessable
from confd.history import check_expected
from confd.model import POLL_INTERVAL_MAX, POLL_INTERVAL_MIN, Configuration, Draft
from confd.runtime.offload import Offload
from confd.web.api.endpoint import Answer, AnyDocument, Call, NamespaceQuery, endpoint
from confd.web.auth.basic import Role
from confd.web.openapi.docs import AGENT_ID, CONFIG_CHECKSUM, ETAG, IDEMPOTENCY_KEY, IF_MATCH, IF_NONE_MATCH, Docs

PollInterval = Annotated[int, msgspec.Meta(ge=POLL_INTERVAL_MIN, le=POLL_INTERVAL_MAX)]
Comment = Annotated[str, msgspec.Meta(max_length=1024)]
Percent = Annotated[int, msgspec.Meta(gt=0, le=100)] | Annotated[float, msgspec.Meta(gt=0, le=100)]
Timeout = Annotated[int, msgspec.Meta(gt=0, le=600)] | Annotated[float, msgspec.Meta(gt=0, le=600)]

_LONGEST_KEY = 255

#: Seconds between two polls of an agent of the Go system that received no other interval.
GO_POLL_INTERVAL = 30

_QUORUM, _TIMEOUT = 100, 30

#: Callers that may wait at a time until agents have what they publish; one that hangs up counts until its time is up.
MAX_WAITING_PUBLISHES = 100


class ChangeQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    How a change is to be made.

    @ivar dry_run: look only: everything is checked, and nothing is changed.
    @ivar wait: answer once so many agents have it, or the time is up.
    @ivar quorum: percent of the agents of the namespace; 100 where it is not given.
    @ivar timeout: seconds; 30 where it is not given.
    """

    dry_run: bool = False
    wait: Literal["applied"] | None = None
    quorum: Percent | None = None
    timeout: Timeout | None = None

    def check(self) -> None:
        """
        Let pass what can be done together.

        @raise Malformed: C{bad_field}.
        """
        for name in ("quorum", "timeout"):
            if self.wait is None and getattr(self, name) is not None:
                raise _bad_field(name, f"{name} is for wait=applied; give both or neither.")
        if self.dry_run and self.wait is not None:
            raise _bad_field("wait", "A dry run changes nothing that could be waited for; leave wait or dry_run away.")


class PublishQuery(ChangeQuery, forbid_unknown_fields=True):
    """
    What a publish may say besides the document.

    @ivar poll_interval: seconds between two polls of an agent; without it, it stays as it is.
    @ivar comment: why, for people.
    """

    poll_interval: PollInterval | None = None
    comment: Comment = ""


class RollbackRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The version to go back to."""

    version: int
    comment: Comment = ""


#: The chapter of the API document.
CONFIGURATIONS = "configurations"

_CHANGE_DOCS = Docs(
    {200: (PublishBody, DryRunBody), 202: PublishBody},
    (Conflict, PreconditionFailed),
    takes=(IF_MATCH, IDEMPOTENCY_KEY),
    gives=(ETAG,),
    tag=CONFIGURATIONS,
)


@define(eq=False)
class ConfigsApi:
    """
    Reads from the snapshot, writes through L{Configs}.

    @ivar published: fires with whether every broker has the newest announcement of a namespace.
    """

    _configs: Configs
    _snapshot: Snapshot
    _reader: ConfigReader
    _registry: Registry
    _convergence: Convergence
    _published: Callable[[str], Deferred[bool]]
    _offload: Offload
    _waiting: int = field(default=0, init=False)

    @endpoint(
        "GET",
        "/api/v1/config",
        Role.AGENT,
        "The current configuration.",
        query=NamespaceQuery,
        docs=Docs(
            {200: CurrentConfigBody, 304: None},
            takes=(IF_NONE_MATCH, AGENT_ID),
            gives=(ETAG, CONFIG_CHECKSUM),
            tag=CONFIGURATIONS,
        ),
    )
    async def current(self, call: Call) -> Answer:
        """Answer a poll: 304 if the caller has the current configuration. The database takes no part."""
        known = call.header("If-None-Match")
        current = await self._reader.require_named(call.query.namespace, known)
        agent_id = self._registry.agent_tokens.sender(call.identity, call.header("X-Agent-ID") or "")
        headers = {"ETag": current.etag, "X-Config-Checksum": current.configuration.document.checksum}
        revalidate = None
        if not agent_id or self._registry.polled(agent_id):
            revalidate = partial(self._revalidate, call.query.namespace, ref(current), agent_id)
        else:
            headers["X-Agent-Known"] = "false"
        if known is not None and _keeps_other(known, current.configuration, agent_id):
            # These would name a document that the caller does not have.
            del headers["ETag"], headers["X-Config-Checksum"]
            return Answer(status=304, headers=headers, revalidate=revalidate)
        if known is not None and _has_current(known, current.configuration, agent_id):
            return Answer(status=304, headers=headers, revalidate=revalidate)
        return Answer(current.body, headers=headers, revalidate=revalidate)

    def _revalidate(self, namespace: str, answered: ref[EncodedConfig], agent_id: str) -> bool:
        """The same poll: see L{Answer.again}. It keeps no document alive that nobody else needs."""
        found = self._snapshot.find(namespace)
        return found is not None and found is answered() and (not agent_id or self._registry.polled(agent_id))

    @endpoint(
        "POST",
        "/api/v1/config",
        Role.ADMIN,
        "Publish a document as the next version.",
        query=PublishQuery,
        body=AnyDocument.OBJECT,
        max_body=None,
        docs=evolve(_CHANGE_DOCS, example={"url": "https://api.github.com"}),
    )
    async def publish(self, call: Call) -> Answer:
        """Publish a document. The answer comes once it is on disk, and enough agents applied it for C{wait}."""
        query: PublishQuery = call.query
        query.check()
        await self._reader.require(query.namespace)
        draft = self._configs.draft(
            query.namespace,
            call.body,
            call.document,
            call.identity.name,
            poll_interval=query.poll_interval,
            comment=query.comment,
            **_conditions(call),
        )
        return await self._publish_or_preview(query, draft)

    @endpoint(
        "POST",
        "/api/v1/config/rollback",
        Role.ADMIN,
        "Publish the document of an earlier version again.",
        query=ChangeQuery,
        body=RollbackRequest,
        docs=evolve(_CHANGE_DOCS, errors=(*_CHANGE_DOCS.errors, Gone, Unprocessable), example={"version": 7}),
    )
    async def rollback(self, call: Call) -> Answer:
        """Publish an old document as the next version; the poll interval stays."""
        query: ChangeQuery = call.query
        query.check()
        await self._reader.require(query.namespace)
        wanted: RollbackRequest = call.body
        past = (await self._configs.revision(query.namespace, wanted.version)).configuration
        try:
            draft = self._configs.draft(
                query.namespace,
                await self._offload.run(len(past.document.raw), strict_json.decode, past.document.raw),
                past.document,
                call.identity.name,
                comment=wanted.comment,
                rollback_of=past.version,
                **_conditions(call),
            )
        except Unprocessable as error:
            said = f"Version {past.version} does not fit today's schema, so nothing was rolled back. {error.message}"
            raise Unprocessable(error.code, said, error.details) from None
        return await self._publish_or_preview(query, draft)

    async def _publish_or_preview(self, query: ChangeQuery, draft: Draft) -> Answer:
        if query.dry_run:
            return Answer(strict_json.encode(await self._preview(draft)))
        waits = query.wait is not None
        if waits and self._waiting >= MAX_WAITING_PUBLISHES:
            raise TooMany(
                "too_many_waiting",
                f"{MAX_WAITING_PUBLISHES} callers wait for agents already, so nothing was changed; try later, or"
                " without wait.",
            )
        self._waiting += waits
        try:
            return await self._commit(query, draft)
        finally:
            self._waiting -= waits

    async def _commit(self, query: ChangeQuery, draft: Draft) -> Answer:
        """Change it, and wait if that is asked for."""
        revision = await self._configs.publish(draft)
        made = revision.configuration
        body: PublishBody = {
            "message": "Configuration updated successfully",
            "version": made.version,
            "epoch": made.epoch,
            "published": await self._published(made.namespace),
        }
        if revision.rollback_of is not None:
            body["rollback_of"] = revision.rollback_of
        status = 200
        if query.wait is not None:
            reached, body["convergence"] = await self._wait_for_quorum(query, made)
            status = 200 if reached else 202
        return Answer(strict_json.encode(body), status, {"ETag": etag(made.tag)})

    async def _preview(self, draft: Draft) -> DryRunBody:
        """What would come of it."""
        there = (await self._reader.newest(draft.namespace)).configuration
        check_expected(draft, there.tag)
        would_be = Configuration(
            there.cluster_id,
            there.epoch,
            there.version + 1,
            there.namespace,
            draft.document,
            draft.poll_interval or there.poll_interval,
            draft.made_at,
        )
        found = await self._offload.run(there.size + would_be.size, difference, there, would_be)
        foreseen: DryRunBody = {
            "message": "Nothing was changed",
            "dry_run": True,
            "version": would_be.version,
            "epoch": would_be.epoch,
            "patch": found.patch,
            "text": found.text,
            "agents": {
                "targeted": self._registry.count(draft.namespace),
                "live": self._registry.live(draft.namespace),
            },
        }
        if draft.rollback_of is not None:
            foreseen["rollback_of"] = draft.rollback_of
        return foreseen

    async def _wait_for_quorum(self, query: ChangeQuery, made: Configuration) -> tuple[bool, ConvergenceBody | None]:
        """Whether enough agents have it in time, and how it stands then."""
        quorum, timeout = query.quorum or _QUORUM, query.timeout or _TIMEOUT
        reached = await self._convergence.reached(made.namespace, made.tag, quorum, timeout)
        try:
            return reached, await read_convergence(self._convergence, made.namespace, made.version)
        except (NotFound, Gone):
            # A retry may ask for a version of long ago, or the namespace is retired by now; what is done stays done.
            return reached, None


def _has_current(header: str, current: Configuration, agent_id: str) -> bool:
    """
    Return whether C{If-None-Match} names the current version.

    A bare number without an id comes from an agent of the Go system. Only a 200 tells it a poll interval.
    """
    if agent_id or current.poll_interval == GO_POLL_INTERVAL:
        return not_modified(header, current.tag)
    return not entity_tags(header).isdisjoint({"*", str(current.tag)})


def _keeps_other(header: str, current: Configuration, agent_id: str) -> bool:
    """
    Return whether the sender of C{If-None-Match} keeps a document of another system.

    An agent of the Go system, which has no id, ignores a body with the number that it has.
    """
    foreign = agent_id or str(current.version) not in entity_tags(header)
    return current.unpublished and names_version(header) and bool(foreign)


def _conditions(call: Call) -> dict[str, Any]:
    """What a change may be bound to, and who asks for it: fields of L{Draft}."""
    expected, key = call.header("If-Match"), call.header("Idempotency-Key")
    if key is not None and not (0 < len(key) <= _LONGEST_KEY and key.isprintable()):
        raise Malformed("bad_idempotency_key", f"Idempotency-Key must be 1 to {_LONGEST_KEY} printable characters.")
    return {
        "expected": None if expected is None else entity_tags(expected),
        "idempotency_key": key,
        "arrived": call.arrived,
        "attempt": call.attempt,
    }


def _bad_field(name: str, sentence: str) -> Malformed:
    return Malformed("bad_field", sentence, [{"pointer": f"/{name}", "message": sentence}])
