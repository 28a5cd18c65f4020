"""
Bodies that cross the network, to values and back.

Readers are liberal where the Go system leaves fields out, and strict in what they believe: a body that does not fit
raises L{Malformed}, never anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from confd.codec import strict_json
from confd.codec.headers import entity_tags, parse_rfc3339, rfc3339
from confd.errors import Malformed, Unprocessable
from confd.model import (
    DEFAULT_NAMESPACE,
    POLL_INTERVAL_MAX,
    POLL_INTERVAL_MIN,
    TAG,
    Configuration,
    Document,
    Registration,
    RegistrationResponse,
    ServedConfig,
    Tag,
    WorkerState,
    valid_agent_id,
    valid_token,
)

#: Answer bytes that an agent reads at most from a controller or a worker, and what a document may take.
MAX_ANSWER_BYTES = 8 * 1024 * 1024

#: Characters of what an agent says of itself, at most: limits of the API and of the settings alike.
METADATA_MAX, HOSTNAME_MAX, STRATEGY_MAX = 1024, 255, 32

#: Seconds over which an agent spreads a report at most, whatever a controller says.
_LONGEST_WINDOW = 60.0


def configuration_body(configuration: Configuration, signing_keys: Sequence[str] = ()) -> bytes:
    """
    The body of GET C{/api/v1/config}.

    @param signing_keys: public keys, newest first; the first is the one in use, the others are still good.
    """
    return strict_json.encode(
        {
            "version": configuration.version,
            "data": msgspec.Raw(configuration.document.raw),
            "poll_interval_seconds": configuration.poll_interval,
            "epoch": configuration.epoch,
            "cluster_id": configuration.cluster_id,
            "checksum": configuration.document.checksum,
            "updated_at": rfc3339(configuration.updated_at),
            "namespace": configuration.namespace,
            "signing_key": signing_keys[0] if signing_keys else None,
            "signing_keys": signing_keys,
        }
    )


def parse_configuration(raw: bytes, namespace: str = DEFAULT_NAMESPACE) -> Configuration:
    """
    Read the body of GET C{/api/v1/config}, confd's or the Go controller's.

    @param namespace: the one that was asked for.
    @raise Malformed: if it is not one, or its document does not have the checksum that it names.
    """
    return configuration_of(_mapping(strict_json.decode(raw, strict_json.ENVELOPE_DEPTH)), namespace)


def parse_served(raw: bytes, namespace: str = DEFAULT_NAMESPACE, named: str | None = None) -> ServedConfig:
    """
    Read the body of GET C{/api/v1/config} with the keys in it.

    @param named: the tag that came beside it, as C{ETag} or as the id of an event: where it is another than that in the
        body, bits were flipped on the way, and a version that nobody published must not be believed. One that a proxy
        made up, or put a suffix to, says nothing: the body decides.
    @raise Malformed: see L{parse_configuration}; or it is of another namespace. The Go controller, which knows none,
        would hand its one document to everybody.
    """
    body = _mapping(strict_json.decode(raw, strict_json.ENVELOPE_DEPTH))
    if body.get("namespace", DEFAULT_NAMESPACE) != namespace:
        raise Malformed("other_namespace", f"The controller answers for another namespace than {namespace}.")
    keys = body.get("signing_keys") or [body.get("signing_key")]
    believed = tuple(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else ()
    configuration = configuration_of(body, namespace)
    if named is not None and _names_another(named, configuration.tag):
        raise Malformed("other_tag", "The configuration that came is another than the one that was named beside it.")
    return ServedConfig(configuration, believed)


def _names_another(header: str, tag: Tag) -> bool:
    """Return whether a header names a configuration, and not the one with C{tag}."""
    named = entity_tags(header)
    return named.isdisjoint({"*", str(tag), str(tag.version)}) and any(
        TAG.fullmatch(each) for each in named if "." in each or len(named) == 1
    )


def configuration_of(body: dict[str, Any], namespace: str) -> Configuration:
    """
    The configuration in a decoded body.

    @raise Malformed: see L{parse_configuration}.
    """
    version, data = body.get("version"), body.get("data")
    if isinstance(version, str) and version.isascii() and version.isdigit():
        version = int(version[:20])
    document = _document(data)
    if body.get("checksum", document.checksum) != document.checksum:
        raise Malformed("bad_checksum", "The document does not have the checksum that came with it.")
    cluster_id, epoch = body.get("cluster_id") or "", body.get("epoch") or 0
    configuration = Configuration(
        cluster_id=_text(cluster_id, 64),
        epoch=_whole(epoch),
        version=_whole(version),
        namespace=namespace,
        document=document,
        poll_interval=bounded_interval(body.get("poll_interval_seconds")),
        updated_at=_moment(body.get("updated_at")),
    )
    try:
        Tag.parse(str(configuration.tag))
    except ValueError:
        raise _misfit() from None
    return configuration


def bounded_interval(seconds: object) -> int:
    """A poll interval as an agent believes it: inside the bounds whatever a controller says, else 30 seconds."""
    return int(min(max(_number(seconds, 30), POLL_INTERVAL_MIN), POLL_INTERVAL_MAX))


def _number(value: object, otherwise: float) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value != value:  # NaN
        return otherwise
    return value


def registration_body(registration: Registration) -> bytes:
    """The body of POST C{/api/v1/register}; what is empty is left out."""
    fields = {
        "hostname": registration.hostname,
        "metadata": registration.metadata,
        "agent_id": registration.agent_id,
        "strategy": registration.strategy,
        "namespace": registration.namespace,
    }
    return strict_json.encode({name: value for name, value in fields.items() if value})


def parse_membership(raw: bytes) -> RegistrationResponse:
    """
    Read the answer to a registration.

    @raise Malformed: if it is not one.
    """
    body = _mapping(strict_json.decode(raw))
    agent_id = _text(body.get("agent_id"), 64)
    if not valid_agent_id(agent_id):
        raise _misfit()
    token = body.get("token")
    return RegistrationResponse(
        agent_id,
        bounded_interval(body.get("poll_interval_seconds")),
        _window(body),
        token if isinstance(token, str) and valid_token(token) else "",
    )


def _window(body: dict[str, Any]) -> float:
    return min(max(_number(body.get("report_window_ms"), 0) / 1000, 0.0), _LONGEST_WINDOW)


def parse_report_window(raw: bytes) -> float:
    """
    Read the answer to a report: seconds over which the next one is to be spread.

    @raise Malformed: if it is not one.
    """
    return _window(_mapping(strict_json.decode(raw)))


# -- agent <-> worker --


def parse_worker_state(raw: bytes) -> WorkerState:
    """
    Read a worker's GET C{/health}, confd's or the Go worker's.

    @raise Malformed: if it is not one.
    """
    body = _mapping(strict_json.decode(raw))
    version, boot_id = body.get("version"), body.get("boot_id")
    return WorkerState(
        has_config=body.get("has_config") is True,
        version=version if isinstance(version, str) else None,
        boot_id=boot_id if isinstance(boot_id, str) else "",
    )


def parse_worker_checksum(raw: bytes) -> str:
    """
    The checksum of the document that a worker says is in force: computed here from GET C{/config}, not believed.

    @raise Malformed: if there is no document in it.
    """
    return _document(_mapping(strict_json.decode(raw, strict_json.ENVELOPE_DEPTH)).get("config")).checksum


# -- pieces --


def _misfit() -> Malformed:
    return Malformed("unexpected_answer", "The answer is JSON, but not what this path answers.")


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _misfit()
    return value


def _document(value: object) -> Document:
    try:
        return strict_json.document(_mapping(value))
    except Unprocessable as error:
        raise Malformed(error.code, error.message) from None


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise _misfit()
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit()
    return value


def _moment(value: object) -> datetime:
    """A time of another machine: shown, never compared, so one that cannot be read is no reason to refuse."""
    try:
        return parse_rfc3339(value) if isinstance(value, str) else datetime.fromtimestamp(0, UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
