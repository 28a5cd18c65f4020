"""The paths of namespaces."""

from __future__ import annotations

from typing import Annotated

import msgspec
from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from confd.codec import strict_json
from confd.codec.headers import rfc3339
from confd.codec.strict_json import JsonObject
from confd.controller.agents.registry import Registry
from confd.controller.api.change_options import Comment, nested_draft
from confd.controller.api.schemas import NamespaceItem
from confd.controller.configs.reader import ConfigReader
from confd.controller.configs.service import Configs
from confd.controller.configs.snapshot import Snapshot
from confd.errors import Conflict, Unavailable, Unprocessable
from confd.model import DEFAULT_NAMESPACE, NAMESPACE, Configuration, valid_namespace
from confd.runtime.offload import Offload
from confd.web.api.endpoint import Answer, BreakGlassReason, Call, Scope, endpoint
from confd.web.auth.principals import Permission
from confd.web.openapi.docs import Docs, MessageBody, written_as


class NewNamespace(msgspec.Struct, forbid_unknown_fields=True):
    """A namespace to make, with its version 1."""

    name: Annotated[str, written_as(NAMESPACE)]
    config: JsonObject
    comment: Comment = ""


class CreateQuery(msgspec.Struct, forbid_unknown_fields=True):
    """
    How to create a namespace.

    @ivar dry_run: check everything, and create nothing.
    @ivar break_glass: why the creation is to pass the policy and the freezes of the namespace.
    """

    dry_run: bool = False
    break_glass: BreakGlassReason | None = None


#: Namespaces that are described in one turn of the reactor; this takes about a millisecond.
_SLICE = 200


@define(eq=False)
class NamespacesApi:
    """Reads from the snapshot, writes through L{Configs}."""

    _configs: Configs
    _snapshot: Snapshot
    _reader: ConfigReader
    _registry: Registry
    _offload: Offload
    _clock: IReactorTime

    @endpoint(
        "GET",
        "/api/v1/namespaces",
        Permission.CONFIG_READ,
        "All namespaces, with versions and agent counts.",
        scope=Scope.ANY,
        docs=Docs({200: list[NamespaceItem]}, (Unavailable,), tag="namespaces"),
    )
    async def namespaces(self, call: Call) -> Answer:
        """List the namespaces whose configurations the caller may read, by name."""
        # Many take several turns of the reactor.
        self._snapshot.require(DEFAULT_NAMESPACE)
        described: list[bytes] = []
        granted = [each for each in self._snapshot.namespaces() if call.principal.may(Permission.CONFIG_READ, each)]
        for number, name in enumerate(granted, 1):
            # It may have been retired meanwhile.
            found = self._snapshot.find(name)
            if found is not None:
                described.append(msgspec.json.encode(self._described(found.configuration)))
            if number % _SLICE == 0:
                await deferLater(self._clock, 0)
        return Answer(b"[" + b",".join(described) + b"]")

    @endpoint(
        "POST",
        "/api/v1/namespaces",
        Permission.ADMIN,
        "Make a namespace.",
        query=CreateQuery,
        body=NewNamespace,
        max_body=None,
        named_by="name",
        docs=Docs(
            {200: MessageBody, 201: NamespaceItem},
            (Conflict, Unprocessable),
            example={"name": "edge", "config": {"url": "https://api.github.com"}, "comment": "for the edge"},
            tag="namespaces",
        ),
    )
    async def create_namespace(self, call: Call) -> Answer:
        """Create a namespace with its document as version 1."""
        wanted: NewNamespace = call.body
        if not valid_namespace(wanted.name):
            sentence = "A namespace is named by 1 to 63 lower-case letters, digits and dashes."
            raise Unprocessable("bad_namespace", sentence, [{"pointer": "/name", "message": sentence}])
        draft = await nested_draft(
            self._configs,
            self._offload,
            wanted.name,
            wanted.config,
            call,
            comment=wanted.comment,
            arrived=call.arrived,
            attempt=call.attempt,
        )
        if call.query.dry_run:
            if self._snapshot.find(wanted.name) is not None:
                raise Conflict("namespace_exists", f"The namespace {wanted.name!r} exists; publish to it instead.")
            return Answer(strict_json.encode(MessageBody("Nothing was changed")))
        made = await self._configs.create_namespace(draft)
        return Answer(msgspec.json.encode(self._described(made.configuration)), status=201)

    @endpoint(
        "DELETE",
        "/api/v1/namespaces/<name>",
        Permission.ADMIN,
        "Retire a namespace that no agent uses.",
        docs=Docs(errors=(Conflict,), tag="namespaces"),
    )
    async def retire_namespace(self, call: Call, name: str) -> MessageBody:
        """
        Retire a namespace. Its history stays on disk; C{default} stays in use.

        @raise Conflict: it is the default one, or agents of it were heard of lately.
        """
        await self._reader.require(name)
        if name == DEFAULT_NAMESPACE:
            raise Conflict("default_namespace", "The namespace default always exists; it cannot be retired.")
        live = self._registry.live(name)
        if live:
            raise Conflict("namespace_in_use", f"{live} agents still ask for {name}; stop or move them first.")
        await self._configs.retire_namespace(name, call.attempt)
        return MessageBody(f"Namespace {name} retired")

    def _described(self, there: Configuration) -> NamespaceItem:
        return {
            "name": there.namespace,
            "version": there.version,
            "epoch": there.epoch,
            "updated_at": rfc3339(there.updated_at),
            "agents": self._registry.count(there.namespace),
            "live_agents": self._registry.live(there.namespace),
        }
