"""The options of a change of the configuration, and the drafts that are made with them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from confd.codec import strict_json
from confd.codec.headers import entity_tags
from confd.codec.strict_json import JsonObject
from confd.controller.configs.service import Configs
from confd.controller.rollouts.plans import DIRECT
from confd.errors import Malformed, Unprocessable
from confd.model import POLL_INTERVAL_MAX, POLL_INTERVAL_MIN, Draft
from confd.rollouts.plan import SUPERSEDE
from confd.runtime.offload import Offload
from confd.web.api.endpoint import BreakGlassReason, Call, NamespaceQuery

#: The chapter of the API document.
CONFIGURATIONS = "configurations"

PollInterval = Annotated[int, msgspec.Meta(ge=POLL_INTERVAL_MIN, le=POLL_INTERVAL_MAX)]
Comment = Annotated[str, msgspec.Meta(max_length=1024)]
Percent = Annotated[int, msgspec.Meta(gt=0, le=100)] | Annotated[float, msgspec.Meta(gt=0, le=100)]
VersionNumber = Annotated[int, msgspec.Meta(ge=1)]
Timeout = Annotated[int, msgspec.Meta(gt=0, le=600)] | Annotated[float, msgspec.Meta(gt=0, le=600)]

#: Characters of an idempotency key.
LONGEST_KEY = 255

#: The default of C{quorum}, in percent, and of C{timeout}, in seconds.
QUORUM, TIMEOUT_SECONDS = 100, 30


class ChangeQuery(NamespaceQuery, forbid_unknown_fields=True):
    """
    How a change is to be made.

    @ivar dry_run: look only: everything is checked, and nothing is changed.
    @ivar wait: answer once so many agents have it, or the time is up.
    @ivar quorum: percent of the agents of the namespace; 100 where it is not given.
    @ivar timeout: seconds; 30 where it is not given.
    @ivar rollout: the plan of a rollout; C{direct} starts none, and C{abort} publishes to all agents although a rollout
        is open.
    @ivar if_changed: refuse a change to the document and the poll interval that are current, unless a rollout is open.
    @ivar break_glass: why the change is to pass the policy and the freezes of the namespace; only an admin gives it.
    @ivar propose: propose the change in the place of a publish: it waits for approvals, or for a person who applies it.
    """

    dry_run: bool = False
    wait: Literal["applied"] | None = None
    quorum: Percent | None = None
    timeout: Timeout | None = None
    rollout: str | None = None
    if_changed: bool = False
    break_glass: BreakGlassReason | None = None
    propose: bool = False

    @property
    def plan(self) -> str | None:
        """The name of the plan; C{None} if all agents are to get the change at once."""
        return None if self.rollout in (None, DIRECT, SUPERSEDE) else self.rollout

    def check(self) -> None:
        """
        Let pass what can be done together.

        @raise Malformed: C{bad_field}.
        """
        for name in ("quorum", "timeout"):
            if self.wait is None and getattr(self, name) is not None:
                raise bad_field(name, f"{name} is for wait=applied; give both or neither.")
        if self.dry_run and self.wait is not None:
            raise bad_field("wait", "A dry run changes nothing that could be waited for; leave wait or dry_run away.")
        if self.propose:
            aborts = "abort" if self.rollout == SUPERSEDE else None
            check_proposal(dry_run=self.dry_run or None, wait=self.wait, rollout=aborts, break_glass=self.break_glass)


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

    version: VersionNumber
    comment: Comment = ""


async def rollback_draft(
    configs: Configs, offload: Offload, namespace: str, version: int, call: Call, **rest: Any
) -> Draft:
    """
    Return a draft with the document of an earlier version; the poll interval stays.

    @param rest: the other fields of L{Draft}.
    @raise NotFound: C{unknown_version}.
    @raise Gone: C{version_pruned}.
    @raise Unprocessable: the document does not fit the schema of today.
    """
    past = (await configs.revision(namespace, version)).configuration
    try:
        return configs.draft(
            namespace,
            await offload.run(len(past.document.raw), strict_json.decode, past.document.raw),
            past.document,
            call.principal.who,
            rollback_of=past.version,
            **rest,
        )
    except Unprocessable as error:
        said = f"Version {past.version} does not fit today's schema, so nothing was rolled back. {error.message}"
        raise Unprocessable(error.code, said, error.details) from None


async def nested_draft(
    configs: Configs, offload: Offload, namespace: str, config: JsonObject, call: Call, **rest: Any
) -> Draft:
    """
    Return a draft of the document in the field C{config} of a body.

    @param rest: the other fields of L{Draft}.
    @raise Unprocessable: the document does not fit the schema.
    """
    document = await offload.run(call.size, strict_json.document, config)
    try:
        return configs.draft(namespace, config, document, call.principal.who, **rest)
    except Unprocessable as error:
        # Pointers lead to what was sent; there the document is a part of it.
        details = [{**each, "pointer": f"/config{each['pointer']}"} for each in error.details]
        raise Unprocessable(error.code, error.message, details) from None


async def change_draft(
    configs: Configs,
    offload: Offload,
    namespace: str,
    config: JsonObject | None,
    rollback_of: int | None,
    call: Call,
    **rest: Any,
) -> Draft:
    """
    Return a draft of a document, or of the document of an earlier version: see L{nested_draft}, L{rollback_draft}.

    @raise Malformed: C{bad_field}, unless exactly one of the two is given.
    """
    if (config is None) == (rollback_of is None):
        raise bad_field("config", "Give either config or rollback_of.")
    if rollback_of is not None:
        return await rollback_draft(configs, offload, namespace, rollback_of, call, **rest)
    assert config is not None
    return await nested_draft(configs, offload, namespace, config, call, **rest)


def conditions(call: Call, rollout: str | None, if_changed: bool = False) -> JsonObject:
    """
    Return the fields of L{Draft} that say who asks for a change, and what it is bound to.

    @param rollout: the option of that name, as C{if_changed}.
    """
    expected, key = call.header("If-Match"), call.header("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise Malformed("bad_idempotency_key", f"Idempotency-Key must be 1 to {LONGEST_KEY} printable characters.")
    return {
        "expected": None if expected is None else entity_tags(expected),
        "idempotency_key": key,
        "arrived": call.arrived,
        "attempt": call.attempt,
        "rollout": rollout or "",
        "if_changed": if_changed,
    }


def check_proposal(**options: object) -> None:
    """
    Check that a call that proposes a change has no option of a publish.

    @param options: values by name, C{None} for an option that is not given.
    @raise Malformed: C{bad_field}.
    """
    for name, value in options.items():
        if value is not None:
            raise bad_field(name, f"A proposal publishes nothing; leave {name} or propose away.")


def bad_field(name: str, sentence: str) -> Malformed:
    """Return the error for a field that does not fit the others."""
    return Malformed("bad_field", sentence, [{"pointer": f"/{name}", "message": sentence}])
