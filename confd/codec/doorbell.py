"""Doorbells: signed hints that a wave of a rollout began, without a document."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from confd.codec import strict_json
from confd.codec.signing import KeyRing, SigningKey
from confd.errors import ConfdError, Malformed

#: Bytes of a doorbell at most; a selector has at most 1024.
MAX_DOORBELL_BYTES = 8192

#: Prefix of signed bytes, so that a signature of a doorbell is valid for nothing else.
_DOMAIN = b"confd-doorbell-v1\n"

_Number = Annotated[int, msgspec.Meta(ge=0, le=strict_json.MAX_INTEGER)]


class Doorbell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The hint that some agents are served a candidate now.

    @ivar step: of the rollout.
    @ivar cut: the highest rank that was picked, in decimal digits: JSON numbers are exact up to 2**53 only.
    @ivar salt: what the ranks are made with.
    @ivar select: a selector that all picked agents match.
    @ivar spread_ms: milliseconds over which the picked agents spread their requests.
    """

    kind: Literal["rollout"]
    namespace: str
    cluster_id: str
    rollout: _Number
    step: _Number
    cut: Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,19})\Z")]
    salt: str
    select: str
    spread_ms: _Number
    key_id: str = ""
    signature: str = ""

    @property
    def order(self) -> tuple[int, int, int]:
        """What makes a doorbell newer than others of its namespace."""
        return self.rollout, self.step, int(self.cut)

    def verified(self, keys: KeyRing) -> bool:
        """Return whether one of C{keys} signed the doorbell."""
        return keys.verify(self.key_id, self.signature, _signed_bytes(self))


def sign(doorbell: Doorbell, key: SigningKey) -> bytes:
    """Encode a doorbell, signed with C{key}."""
    named = msgspec.structs.replace(doorbell, key_id=key.key_id)
    return strict_json.encode(msgspec.structs.replace(named, signature=key.sign(_signed_bytes(named))))


def read_doorbell(raw: bytes) -> Doorbell:
    """
    Decode a doorbell; nothing in it is trustworthy before L{Doorbell.verified} returns true.

    @raise Malformed: it is none.
    """
    if len(raw) > MAX_DOORBELL_BYTES:
        raise Malformed("too_large", "The doorbell is larger than any that a controller makes.")
    try:
        return msgspec.convert(strict_json.decode(raw, 1), Doorbell)
    except (msgspec.ValidationError, ConfdError):
        raise Malformed("not_a_doorbell", "The doorbell is not in the format of a controller.") from None


def _signed_bytes(doorbell: Doorbell) -> bytes:
    fields = msgspec.structs.asdict(doorbell)
    del fields["signature"]
    return _DOMAIN + strict_json.canonical(fields)
