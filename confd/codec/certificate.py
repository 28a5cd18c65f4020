"""Certificates: what a controller recorded of the agents that applied a version, signed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import msgspec

from confd.codec import strict_json
from confd.codec.merkle import merkle_root
from confd.codec.signing import KeyRing, SigningKey
from confd.codec.strict_json import JsonValue
from confd.errors import ConfdError, Malformed

KIND: Literal["confd-certificate-v1"] = "confd-certificate-v1"

#: Bytes of a certificate that is read at most; the leaves of 100,000 agents take a third of it.
MAX_CERTIFICATE_BYTES = 64 * 1048576

#: Prefix of signed bytes, so that a signature of a certificate is valid for nothing else.
_DOMAIN = b"confd-certificate-v1\n"

#: Levels of nesting in a certificate.
_DEPTH = 4

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Certificate(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """
    The claim that agents of a namespace applied a version.

    @ivar at: time of the claim, RFC 3339.
    @ivar targeted: agents of the namespace.
    @ivar applied: agents among them that applied the version.
    @ivar root: hex digits of the root of the tree of all leaves.
    @ivar author: the author of the version.
    @ivar approvals: by whom the version was approved.
    @ivar rollout: id of the rollout that delivered the version; C{None} without one.
    @ivar key_id: names the key that made C{signature}; both are empty before L{sign}.
    @ivar leaves: see L{leaf_of}, sorted; C{None} if they are left out. The root vouches for them.
    """

    kind: Literal["confd-certificate-v1"]
    cluster_id: str
    namespace: str
    tag: str
    checksum: str
    at: str
    targeted: _Count
    applied: _Count
    root: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    author: str
    approvals: list[JsonValue]
    rollout: int | None
    key_id: str
    signature: str
    leaves: list[str] | None = None


def leaf_of(agent_id: str, tag: str, checksum: str, session: str, sequence: int) -> str:
    """Return the leaf of an agent, from its report."""
    return f"{agent_id}|{tag}|{checksum}|{session}|{sequence}"


def root_of(leaves: Iterable[str]) -> str:
    """Return the root of sorted leaves in hex digits."""
    return merkle_root(leaf.encode() for leaf in leaves).hex()


def sign(certificate: Certificate, key: SigningKey) -> bytes:
    """Return a certificate as canonical JSON (RFC 8785), signed with C{key}."""
    named = msgspec.structs.replace(certificate, key_id=key.key_id)
    fields = _fields(named) | {"signature": key.sign(_signed_bytes(named))}
    return strict_json.canonical(fields)


def read_certificate(raw: bytes) -> Certificate:
    """
    Decode a certificate; nothing in it is trustworthy before L{verify_certificate}.

    @raise Malformed: says in one sentence why it is not a certificate.
    """
    if len(raw) > MAX_CERTIFICATE_BYTES:
        raise Malformed("too_large", f"It is larger than {MAX_CERTIFICATE_BYTES} bytes, the limit for a certificate.")
    try:
        value = strict_json.decode(raw, _DEPTH)
        strict_json.canonical(value)
        return msgspec.convert(value, Certificate)
    except msgspec.ValidationError as error:
        reason = str(error)
    except ConfdError as error:
        reason = error.message.rstrip(".").replace("The body is", "It is")
    raise Malformed("not_a_certificate", f"It is not a certificate of confd: {reason[:300]}.")


def verify_certificate(certificate: Certificate, keys: KeyRing) -> None:
    """
    Verify the signature of a certificate, and its leaves where it has them.

    @raise Malformed: says in one sentence what is wrong.
    """
    if not keys.verify(certificate.key_id, certificate.signature, _signed_bytes(certificate)):
        raise Malformed(
            "bad_signature",
            "It has no valid signature of a given key: it was changed, or comes from another cluster, or from another"
            f" key of this one; it names the key {certificate.key_id[:64]!r}.",
        )
    leaves = certificate.leaves
    if leaves is not None and not _fits(certificate, leaves):
        raise Malformed("bad_leaves", "It has leaves that the controller did not sign.")


def _fits(certificate: Certificate, leaves: Sequence[str]) -> bool:
    return len(leaves) == certificate.applied and root_of(leaves) == certificate.root


def _fields(certificate: Certificate) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(msgspec.structs.replace(certificate, leaves=None))
    return fields if certificate.leaves is None else fields | {"leaves": certificate.leaves}


def _signed_bytes(certificate: Certificate) -> bytes:
    fields = _fields(certificate)
    return _DOMAIN + strict_json.canonical({name: fields[name] for name in fields if name not in _UNSIGNED})


_UNSIGNED = ("signature", "leaves")
