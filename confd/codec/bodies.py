"""
Bodies that cross the network, to values and back.

The decoders accept bodies of the Go system, which lacks some fields. Every body that they reject raises L{Malformed}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

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

#: Bytes of a response that an agent reads at most from a controller or a worker, and of a document.
MAX_ANSWER_BYTES = 8 * 1024 * 1024

#: Characters of the metadata, the host name and the strategy of an agent: limits of the API and of the settings.
METADATA_MAX, HOSTNAME_MAX, STRATEGY_MAX = 1024, 255, 32

#: Longest time in seconds over which an agent spreads its reports, whatever the controller says.
_REPORT_WINDOW_MAX_SECONDS = 60.0


def configuration_body(configuration: Configuration, signing_keys: Sequence[str] = ()) -> bytes:
    """
    Encode the body of GET C{/api/v1/config}.

    @param signing_keys: valid public keys, newest first; the first one signs.
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
    Decode the body of GET C{/api/v1/config}, confd's or the Go controller's.

    @param namespace: the requested namespace.
    @raise Malformed: if the body is not a configuration, or the checksum does not match the document.
    """
    return configuration_of(_mapping(strict_json.decode(raw, strict_json.ENVELOPE_DEPTH)), namespace)


def parse_served(raw: bytes, namespace: str = DEFAULT_NAMESPACE, named: str | None = None) -> ServedConfig:
    """
    Decode the body of GET C{/api/v1/config} and the signing keys in it.

    @param named: the tag from the C{ETag} header or from the id of an event. A tag that differs from the body proves a
        transmission error. Tags that a proxy invented or changed are ignored.
    @raise Malformed: see L{parse_configuration}; also if the configuration is of another namespace. The Go controller
        has no namespaces, and would send its one document to every agent.
    """
    body = _mapping(strict_json.decode(raw, strict_json.ENVELOPE_DEPTH))
    if body.get("namespace", DEFAULT_NAMESPACE) != namespace:
        raise Malformed("other_namespace", f"The controller answers for another namespace than {namespace}.")
    configuration = configuration_of(body, namespace)
    if named is not None and _names_another(named, configuration.tag):
        raise Malformed(
            "other_tag", "The configuration in the body does not match the tag in the header or in the event."
        )
    return ServedConfig(configuration, signing_keys_of(body))


def signing_keys_of(body: Mapping[str, object]) -> tuple[str, ...]:
    """Return the public keys in a decoded body, newest first; the caller checks each."""
    keys = body.get("signing_keys") or [body.get("signing_key")]
    return tuple(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else ()


def _names_another(header: str, tag: Tag) -> bool:
    """Return whether a header names a configuration other than the one with C{tag}."""
    named = entity_tags(header)
    return named.isdisjoint({"*", str(tag), str(tag.version)}) and any(
        TAG.fullmatch(each) for each in named if "." in each or len(named) == 1
    )


def configuration_of(body: Mapping[str, object], namespace: str) -> Configuration:
    """
    Return the configuration in a decoded body.

    @raise Malformed: see L{parse_configuration}.
    """
    version, data = body.get("version"), body.get("data")
    if isinstance(version, str) and version.isascii() and version.isdigit():
        version = int(version[:20])
    document = _document(data)
    if body.get("checksum", document.checksum) != document.checksum:
        raise Malformed("bad_checksum", "The checksum does not match the document.")
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
    """Return a poll interval within its bounds: 30 seconds for a value outside of them."""
    return int(min(max(_number(seconds, 30), POLL_INTERVAL_MIN), POLL_INTERVAL_MAX))


def _number(value: object, otherwise: float) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value != value:  # NaN
        return otherwise
    return value


def registration_body(registration: Registration) -> bytes:
    """Encode the body of POST C{/api/v1/register}, without empty fields."""
    fields = {
        "hostname": registration.hostname,
        "metadata": registration.metadata,
        "agent_id": registration.agent_id,
        "strategy": registration.strategy,
        "namespace": registration.namespace,
        "advertise": registration.advertise,
    }
    return strict_json.encode({name: value for name, value in fields.items() if value})


def parse_membership(raw: bytes) -> RegistrationResponse:
    """
    Decode the response to a registration.

    @raise Malformed: if the body is not such a response.
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


def _window(body: Mapping[str, object]) -> float:
    return min(max(_number(body.get("report_window_ms"), 0) / 1000, 0.0), _REPORT_WINDOW_MAX_SECONDS)


def parse_report_window(raw: bytes) -> float:
    """
    Decode the response to a report: the seconds over which to spread the next report.

    @raise Malformed: if the body is not such a response.
    """
    return _window(_mapping(strict_json.decode(raw)))


# -- agent <-> worker --


def parse_worker_state(raw: bytes) -> WorkerState:
    """
    Decode the body of a worker's GET C{/health}, confd's or the Go worker's.

    @raise Malformed: if the body is not such a response.
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
    Compute the checksum of the document in the body of a worker's GET C{/config}.

    @raise Malformed: if the body contains no document.
    """
    return _document(_mapping(strict_json.decode(raw, strict_json.ENVELOPE_DEPTH)).get("config")).checksum


# -- pieces --


def _misfit() -> Malformed:
    return Malformed("unexpected_answer", "The answer is JSON, but not in the format of this path.")


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _misfit()
    return value


def _document(value: object) -> Document:
    try:
        return strict_json.document(_mapping(value))
    except Unprocessable as error:
        raise Malformed(error.code, error.message) from None


def _text(value: object, max_chars: int) -> str:
    if not isinstance(value, str) or len(value) > max_chars:
        raise _misfit()
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit()
    return value


def _moment(value: object) -> datetime:
    """Read a time of another machine, which is only displayed: an invalid time becomes the epoch."""
    try:
        return parse_rfc3339(value) if isinstance(value, str) else datetime.fromtimestamp(0, UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
