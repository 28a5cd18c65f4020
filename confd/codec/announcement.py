"""What goes over a broker: one message, the same bytes for every receiver, signed."""

from __future__ import annotations

import msgspec
from attrs import frozen

from confd.codec import bodies, headers, strict_json
from confd.codec.signing import KeyRing, SigningKey
from confd.errors import Malformed
from confd.model import Configuration

#: Prefix of signed bytes, so that a signature of an announcement is valid for nothing else.
_DOMAIN = b"confd-announcement-v1\n"


def announce(configuration: Configuration, key: SigningKey) -> bytes:
    """Encode the announcement of a configuration. C{version} is a string, as in the Go system."""
    message: dict[str, object] = {
        "version": str(configuration.version),
        "config": msgspec.Raw(configuration.document.raw),
        "timestamp": headers.rfc3339(configuration.updated_at),
        "namespace": configuration.namespace,
        "epoch": configuration.epoch,
        "cluster_id": configuration.cluster_id,
        "poll_interval_seconds": configuration.poll_interval,
        "checksum": configuration.document.checksum,
        "key_id": key.key_id,
    }
    signed = _signed_bytes(strict_json.decode(strict_json.encode(message), strict_json.ENVELOPE_DEPTH))
    return strict_json.encode(message | {"signature": key.sign(signed)})


@frozen
class Announcement:
    """
    A received announcement. Nothing in it is trustworthy before L{verified} returns true.

    @ivar signed: the bytes that C{signature} signs.
    """

    configuration: Configuration
    key_id: str
    signature: str
    signed: bytes

    def verified(self, keys: KeyRing) -> bool:
        """Return whether one of C{keys} signed the announcement."""
        return keys.verify(self.key_id, self.signature, self.signed)


def read(raw: bytes) -> Announcement:
    """
    Decode an announcement. An announcement of the Go controller has neither key nor signature.

    @raise Malformed: if the bytes are not an announcement.
    @raise Unprocessable: if a field other than the document contains an integer without a canonical form.
    """
    if len(raw) > bodies.MAX_ANSWER_BYTES:
        raise Malformed("too_large", "The announcement is larger than any that a controller makes.")
    message = strict_json.decode(raw, strict_json.ENVELOPE_DEPTH)
    if not isinstance(message, dict):
        raise Malformed("unexpected_announcement", "The announcement is JSON, but not an object.")
    signature = message.pop("signature", "")
    key_id, namespace = message.get("key_id", ""), message.get("namespace", "")
    if not all(isinstance(text, str) for text in (signature, key_id, namespace)):
        raise Malformed("unexpected_announcement", "The announcement is JSON, but not in the format of a controller.")
    configuration = bodies.configuration_of(
        message | {"data": message.get("config"), "updated_at": message.get("timestamp")}, namespace
    )
    return Announcement(configuration, key_id, signature, _signed_bytes(message))


def _signed_bytes(message: object) -> bytes:
    return _DOMAIN + strict_json.canonical(message)
