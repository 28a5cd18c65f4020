"""Forged messages, made from a genuine message (F-23 to F-27)."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from attrs import evolve

from confd.codec import announcement, strict_json
from confd.codec.signing import SigningKey


def forgeries(genuine: bytes, random: Random) -> list[bytes]:
    """Return a forged message of each kind; an agent may take each as a hint only."""
    message: dict[str, Any] = json.loads(genuine)
    version = int(message["version"])
    unsigned = {name: value for name, value in message.items() if name not in ("key_id", "signature")}
    document = {"url": "http://127.0.0.1/forged"}
    other = {"config": document, "checksum": strict_json.checksum(document)}
    configuration = announcement.read(genuine).configuration
    stranger = announcement.announce(evolve(configuration, version=version + 1), SigningKey.generate())
    made = [
        unsigned | {"version": str(version + 1)},
        message | {"version": str(version + 1)},
        message | {"version": str(2**63)},
        message | {"version": "9" * 17},
        message | {"epoch": message["epoch"] + 1},
        message | {"cluster_id": "ffffffff-ffff-4fff-bfff-ffffffffffff", "epoch": 99},
        message | other,
        message | other | {"version": str(version + 1)},
        message | {"version": str(version + 1), "signature": ""},
        message | {"version": str(version + 1), "signature": "A" * 86 + "=="},
        # In the format of the Go system's controller, and with the id of the real key.
        {"version": str(version + 1), "config": document, "timestamp": message["timestamp"]},
        json.loads(stranger) | {"key_id": message["key_id"]},
        {},
        [],
        None,
    ]
    rubbish = [stranger, b"", b"{", b"\xff\xfe\x00", random.randbytes(1000), b"[" * 1000, b"x" * 2**20]
    return [json.dumps(each).encode() for each in made] + rubbish
