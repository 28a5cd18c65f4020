"""Values of the change feed."""

from __future__ import annotations

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from confd.changes import (
    AGENT,
    IDENTITY,
    KEYS,
    KINDS,
    LABELS,
    RETIRED,
    REVISION,
    AgentChange,
    IdentityRecord,
    Published,
)
from confd.codec.signing import SigningKey
from confd.history import VersionSummary
from confd.testing.examples import a_draft
from confd.testing.memory import MemoryStore


class BodyTests(SynchronousTestCase):
    """What a database writes of each kind of change."""

    def test_agent_keeps_its_value(self) -> None:
        value = AgentChange("moved", "edge")
        self.assertEqual(KINDS[AGENT].decode(KINDS[AGENT].encode(value)), value)

    def test_labels_keep_their_value(self) -> None:
        for value in ({"stage": "canary", "gpu": ""}, {}):
            self.assertEqual(KINDS[LABELS].decode(KINDS[LABELS].encode(value)), value)

    def test_revision_leaves_out_the_document_and_the_time_of_the_process(self) -> None:
        revision = self.successResultOf(MemoryStore(a_draft(poll_interval=30)).revision("default", 1))
        value = Published(VersionSummary.of(revision), revision.configuration, posted=12.5, commit_ms=1.25)
        read = KINDS[REVISION].decode(KINDS[REVISION].encode(value))
        self.assertEqual(read, evolve(value, configuration=None, posted=None))

    def test_keys_never_leave_their_table(self) -> None:
        value = IdentityRecord("1a2b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d", 1, (SigningKey.generate(),))
        for kind in (IDENTITY, KEYS, RETIRED):
            self.assertEqual(KINDS[kind].encode(value), b"null")

    def test_damaged_body_is_refused(self) -> None:
        with self.assertRaises(msgspec.DecodeError):
            KINDS[AGENT].decode(b'{"what": "renamed"}')
