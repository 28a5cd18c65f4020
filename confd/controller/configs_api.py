"""The paths that concern configurations and namespaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from attrs import define
from twisted.internet.defer import Deferred

from confd import jsontext
from confd.controller.configs import Configs
from confd.controller.registry import Registry
from confd.controller.snapshot import Snapshot
from confd.model import (
    DEFAULT_NAMESPACE,
    POLL_INTERVAL_MAX,
    POLL_INTERVAL_MIN,
    Conflict,
    Malformed,
    Unprocessable,
    valid_namespace,
)
from confd.web.endpoint import Answer, AnyDocument, Call, NamespaceQuery, endpoint
from confd.web.guard import Role
from confd.wire import entity_tags, not_modified, rfc3339

PollInterval = Annotated[int, msgspec.Meta(ge=POLL_INTERVAL_MIN, le=POLL_INTERVAL_MAX)]
Comment = Annotated[str, msgspec.Meta(max_length=1024)]

_LONGEST_KEY = 255


class PublishQuery(NamespaceQuery, forbid_unknown_fields=True):
    """What a publish may say besides the document."""

    poll_interval: PollInterval | None = None
    comment: Comment = ""


class NewNamespace(msgspec.Struct, forbid_unknown_fields=True):
    """A namespace to make, with its version 1."""

    name: str
    config: dict[str, Any]
    comment: Comment = ""


@define(eq=False)
class ConfigsApi:
    """
    Reads from the snapshot, writes through L{Configs}.

    @ivar published: fires with whether every broker has the newest announcement of a namespace.
    """

    _configs: Configs
    _snapshot: Snapshot
    _registry: Registry
    _published: Callable[[str], Deferred[bool]]

    @endpoint("GET", "/api/v1/config", Role.AGENT, "The configuration in force.", query=NamespaceQuery)
    async def current(self, call: Call) -> Answer:
        """A poll: 304 where the caller has it already. The database is never asked."""
        in_force = self._snapshot.get(call.query.namespace)
        agent_id = call.header("X-Agent-ID")
        if agent_id:
            self._registry.polled(agent_id)
        headers = {"ETag": in_force.etag}
        known = call.header("If-None-Match")
        if known is not None and not_modified(known, in_force.configuration.tag):
            return Answer(status=304, headers=headers)
        return Answer(in_force.body, headers=headers)

    @endpoint(
        "POST",
        "/api/v1/config",
        Role.ADMIN,
        "Publish a document as the next version.",
        query=PublishQuery,
        body=AnyDocument.OBJECT,
        max_body=None,
    )
    async def publish(self, call: Call) -> Answer:
        """Answered once it is on disk (G1)."""
        self._snapshot.get(call.query.namespace)
        expected = call.header("If-Match")
        draft = self._configs.draft(
            call.query.namespace,
            call.body,
            call.document,
            call.identity.name,
            poll_interval=call.query.poll_interval,
            comment=call.query.comment,
            expected=None if expected is None else entity_tags(expected),
            idempotency_key=_idempotency_key(call),
        )
        revision = await self._configs.publish(draft)
        made = revision.configuration
        body = {
            "message": "Configuration updated successfully",
            "version": made.version,
            "epoch": made.epoch,
            "published": await self._published(made.namespace),
        }
        return Answer(msgspec.json.encode(body), headers={"ETag": f'"{made.tag}"'})

    @endpoint("POST", "/api/v1/signing-key/rotate", Role.ADMIN, "Sign announcements with a new key from now on.")
    async def rotate_key(self, call: Call) -> object:
        """The key before it stays good until the next change; agents learn the new one with the next version."""
        return {"message": "Announcements are signed with a new key", "signing_key": await self._configs.rotate_keys()}

    @endpoint("GET", "/api/v1/namespaces", Role.ADMIN, "All namespaces, with versions and agent counts.")
    async def namespaces(self, call: Call) -> object:
        """Sorted by name; the default one is always among them, once they are loaded."""
        self._snapshot.get(DEFAULT_NAMESPACE)
        return [self._described(name) for name in self._snapshot.namespaces()]

    @endpoint("POST", "/api/v1/namespaces", Role.ADMIN, "Make a namespace.", body=NewNamespace, max_body=None)
    async def create_namespace(self, call: Call) -> Answer:
        """Its document is version 1 of it."""
        wanted: NewNamespace = call.body
        if not valid_namespace(wanted.name):
            sentence = "A namespace is named by 1 to 63 lower-case letters, digits and dashes."
            raise Unprocessable("bad_namespace", sentence, [{"pointer": "/name", "message": sentence}])
        document = jsontext.document(wanted.config)
        draft = self._configs.draft(wanted.name, wanted.config, document, call.identity.name, comment=wanted.comment)
        await self._configs.create_namespace(draft)
        return Answer(msgspec.json.encode(self._described(wanted.name)), status=201)

    @endpoint("DELETE", "/api/v1/namespaces/<name>", Role.ADMIN, "Retire a namespace that no agent uses.")
    async def retire_namespace(self, call: Call, name: str) -> object:
        """
        Its history stays on disk; the namespace C{default} stays in use.

        @raise Conflict: it is the default one, or agents of it were heard of lately.
        """
        self._snapshot.get(name)
        if name == DEFAULT_NAMESPACE:
            raise Conflict("default_namespace", "The namespace default always exists; it cannot be retired.")
        live = self._registry.live(name)
        if live:
            raise Conflict("namespace_in_use", f"{live} agents still ask for {name}; stop or move them first.")
        await self._configs.retire_namespace(name)
        return {"message": f"Namespace {name} retired"}

    def _described(self, name: str) -> dict[str, object]:
        there = self._snapshot.get(name).configuration
        return {
            "name": name,
            "version": there.version,
            "epoch": there.epoch,
            "updated_at": rfc3339(there.updated_at),
            "agents": self._registry.count(name),
            "live_agents": self._registry.live(name),
        }


def _idempotency_key(call: Call) -> str | None:
    key = call.header("Idempotency-Key")
    if key is not None and not (0 < len(key) <= _LONGEST_KEY and key.isprintable()):
        raise Malformed("bad_idempotency_key", f"Idempotency-Key must be 1 to {_LONGEST_KEY} printable characters.")
    return key
