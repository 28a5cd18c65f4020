"""Ed25519 keys: the controller signs what goes over brokers, agents know whom to believe (RFC 8032)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable

from attrs import define, field, frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: Keys that an agent believes at the same time: the one in use and, while it is being replaced, the one before.
MOST_KEYS = 4


def key_id_of(public: bytes) -> str:
    """The name of a key: the first 16 hex digits of the SHA-256 of its 32 public bytes."""
    return hashlib.sha256(public).hexdigest()[:16]


@frozen
class SigningKey:
    """
    A key pair.

    @ivar key_id: names it in announcements.
    @ivar public: its public half, base64, as GET C{/api/v1/config} tells it.
    """

    key_id: str
    public: str
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        """A new one."""
        return cls._of(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, private: bytes) -> SigningKey:
        """
        Of its 32 private bytes.

        @raise ValueError: if they are not 32.
        """
        return cls._of(Ed25519PrivateKey.from_private_bytes(private))

    @classmethod
    def _of(cls, private: Ed25519PrivateKey) -> SigningKey:
        public = private.public_key().public_bytes_raw()
        return cls(key_id_of(public), base64.b64encode(public).decode(), private)

    def private_bytes(self) -> bytes:
        """Its 32 private bytes, to be kept where the database is."""
        return self._private.private_bytes_raw()

    def sign(self, message: bytes) -> str:
        """The signature of a message, base64."""
        return base64.b64encode(self._private.sign(message)).decode()


@define(eq=False)
class KeyRing:
    """The public keys that an agent believes, as an authenticated controller told them."""

    _keys: dict[str, Ed25519PublicKey] = field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def trust(self, publics: Iterable[str]) -> None:
        """Believe these keys and no others; what is not a key is left out. None at all changes nothing."""
        found = {}
        for text in list(publics)[:MOST_KEYS]:
            try:
                public = base64.b64decode(text, validate=True)
                found[key_id_of(public)] = Ed25519PublicKey.from_public_bytes(public)
            except (binascii.Error, ValueError):
                continue
        self._keys = found or self._keys

    def verify(self, key_id: str, signature: str, message: bytes) -> bool:
        """Whether a key that is believed made this signature of this message."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(base64.b64decode(signature, validate=True), message)
        except (binascii.Error, ValueError, InvalidSignature):
            return False
        return True
