"""Ed25519 keys (RFC 8032): a controller signs announcements, agents verify the signatures."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

#: Bytes of a public key.
_PUBLIC_BYTES = 32

#: Keys that an agent trusts at the same time: the current key, and older keys during a rotation.
MAX_TRUSTED_KEYS = 4


def key_id_of(public: bytes) -> str:
    """Return the id of a key: the first 16 hex digits of the SHA-256 of its 32 public bytes."""
    return hashlib.sha256(public).hexdigest()[:16]


def parse_public(text: str) -> bytes:
    """
    Return the 32 bytes of a public key in base64.

    @raise ValueError: for another text.
    """
    public = base64.b64decode(text, validate=True)
    if len(public) != _PUBLIC_BYTES:
        raise ValueError(f"the key has {len(public)} bytes, not {_PUBLIC_BYTES}")
    return public


@cache
def _library() -> tuple[type[Ed25519PrivateKey], type[Ed25519PublicKey], type[Exception]]:
    """Return the classes of the library, which an agent loads for the first pushed message: polls need none."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    return Ed25519PrivateKey, Ed25519PublicKey, InvalidSignature


@frozen
class SigningKey:
    """
    A key pair.

    @ivar key_id: names the key in announcements.
    @ivar public: the public key in base64, as in GET C{/api/v1/config}.
    """

    key_id: str
    public: str
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> SigningKey:
        """Generate a new key pair."""
        return cls._of(_library()[0].generate())

    @classmethod
    def load(cls, private: bytes) -> SigningKey:
        """
        Load a key pair from its 32 private bytes.

        @raise ValueError: for another number of bytes.
        """
        return cls._of(_library()[0].from_private_bytes(private))

    @classmethod
    def _of(cls, private: Ed25519PrivateKey) -> SigningKey:
        public = private.public_key().public_bytes_raw()
        return cls(key_id_of(public), base64.b64encode(public).decode(), private)

    def private_bytes(self) -> bytes:
        """Return the 32 private bytes, which belong into the database only."""
        return self._private.private_bytes_raw()

    def sign(self, message: bytes) -> str:
        """Return the signature of a message in base64."""
        return base64.b64encode(self._private.sign(message)).decode()


@define(eq=False)
class KeyRing:
    """The public keys that an agent trusts, received from an authenticated controller."""

    #: The 32 bytes of each key by its id.
    _keys: dict[str, bytes] = field(factory=dict)
    #: The keys that have verified a message.
    _loaded: dict[bytes, Ed25519PublicKey] = field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def publics(self) -> tuple[str, ...]:
        """The trusted keys in base64, in the order in which they were given."""
        return tuple(base64.b64encode(key).decode() for key in self._keys.values())

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the trusted keys, in the same order."""
        return tuple(self._keys)

    def trust(self, publics: Iterable[str]) -> bool:
        """
        Replace the trusted keys. Ignore invalid keys; without a valid key, change nothing.

        @return: whether the keys, or their order, changed.
        """
        before, found = self.ids, {}
        for text in list(publics)[:MAX_TRUSTED_KEYS]:
            with suppress(ValueError):
                public = parse_public(text)
                found[key_id_of(public)] = public
        self._keys, self._loaded = found or self._keys, {}
        return self.ids != before

    def verify(self, key_id: str, signature: str, message: bytes) -> bool:
        """Return whether a signature of a message is valid, and of a trusted key."""
        public = self._keys.get(key_id)
        if public is None:
            return False
        _, public_key, invalid_signature = _library()
        key = self._loaded.get(public) or self._loaded.setdefault(public, public_key.from_public_bytes(public))
        try:
            key.verify(base64.b64decode(signature, validate=True), message)
        except (binascii.Error, ValueError, invalid_signature):
            return False
        return True
