"""Tests of C{certificate} and C{verify}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from confd.cli.transport import Reply
from confd.codec.certificate import MAX_CERTIFICATE_BYTES
from confd.codec.signing import SigningKey
from tests.cli.harness import CliHarness, CommandResult, lines, refusal
from tests.codec.test_certificate import KEY, SIGNED, WITH_LEAVES, changed

PATH = "GET /api/v1/config/versions/7/certificate"


class CertificateTests(SynchronousTestCase):
    """C{certificate}."""

    def setUp(self) -> None:
        self.cli = CliHarness()
        self.table = self.cli.controller.table

    def test_bytes(self) -> None:
        """Each output format prints the certificate as it was signed."""
        self.table[PATH] = Reply(200, {}, WITH_LEAVES)
        for form in ("table", "json", "yaml"):
            found = self.cli.type("certificate", "7", "--leaves", "--quorum", "95.5", "-n", "edge", "-o", form)
            self.assertEqual((found.status, found.out), (Exit.OK, WITH_LEAVES.decode() + "\n"))
        self.assertEqual(self.cli.controller.asked[-1].query, {"namespace": "edge", "quorum": "95.5", "leaves": "true"})

    def test_refusals(self) -> None:
        self.table[PATH] = refusal(409, "not_converged", "2 of 3 agents have applied it.")
        found = self.cli.type("certificate", "7")
        self.assertEqual((found.status, found.err), (Exit.CONFLICT, "confdctl: 2 of 3 agents have applied it.\n"))
        for words in (["0"], ["x"], ["7", "--quorum", "0"], ["7", "--quorum", "101"], []):
            self.assertEqual(self.cli.type("certificate", *words).status, Exit.USAGE)


class VerifyTests(SynchronousTestCase):
    """C{verify}."""

    def verify(self, raw: bytes, *words: str, key: str = KEY.public) -> CommandResult:
        """Verify a text from standard input."""
        cli = CliHarness()
        found = cli.type("verify", "-", "--key", key, *words, stdin=raw)
        self.assertEqual(cli.controller.asked, [])
        return found

    def test_genuine(self) -> None:
        """The facts of the certificate, from a file or standard input, and without a controller."""
        path = Path(self.mktemp())
        path.write_bytes(SIGNED)
        for found in (
            self.verify(WITH_LEAVES, "--key", SigningKey.generate().public),
            CliHarness().type("verify", str(path), "--key", KEY.public),
        ):
            self.assertEqual(found.status, Exit.OK, found.err)
            self.assertEqual(lines(found.out)[0], "The certificate is genuine: 3 of 4 agents applied it.")
            self.assertIn("Tag         1a2b3c4d.1.7", lines(found.out))
        value: Any = json.loads(self.verify(SIGNED, "-o", "json").out)
        self.assertEqual((value["genuine"], value["tag"], value["applied"]), (True, "1a2b3c4d.1.7", 3))

    def test_any_number_of_keys(self) -> None:
        """The key that signed counts, wherever it stands among the others."""
        others = [word for _ in range(6) for word in ("--key", SigningKey.generate().public)]
        for words in ((*others, "--key", KEY.public), ("--key", KEY.public, *others)):
            found = CliHarness().type("verify", "-", *words, stdin=SIGNED)
            self.assertEqual(found.status, Exit.OK, found.err)
        self.assertEqual(CliHarness().type("verify", "-", *others, stdin=SIGNED).status, Exit.NOT_GENUINE)

    def test_not_genuine(self) -> None:
        """Each hostile text gets one sentence, and a status of its own."""
        for raw, words in (
            (b"", "not JSON"),
            (SIGNED[:200], "not JSON"),
            (b'{"kind": 1, "kind": 2}', "twice"),
            (b" " * (MAX_CERTIFICATE_BYTES + 1), "larger"),
            (changed(SIGNED, applied="3"), "`$.applied`"),
            (changed(SIGNED, applied=4), "no valid signature"),
            (changed(WITH_LEAVES, leaves=["\x1b[31m"]), "leaves"),
            (changed(SIGNED, key_id="\x1b[31m\n"), "no valid signature"),
        ):
            found = self.verify(raw)
            self.assertEqual((found.status, found.out, found.err.count("\n")), (Exit.NOT_GENUINE, "", 1), found)
            self.assertTrue(found.err.startswith("confdctl: Standard input: It"), found.err)
            self.assertIn(words, found.err)
            self.assertNotIn("\x1b", found.err)
        self.assertEqual(self.verify(SIGNED, key=SigningKey.generate().public).status, Exit.NOT_GENUINE)

    def test_usage(self) -> None:
        for key in ("", "x", KEY.public[:20], KEY.key_id, "é"):
            found = self.verify(SIGNED, key=key)
            self.assertEqual((found.status, found.err.count("\n")), (Exit.USAGE, 1), key)
        self.assertEqual(CliHarness().type("verify", "-").status, Exit.USAGE)
        missing = CliHarness().type("verify", "/nonexistent", "--key", KEY.public)
        self.assertEqual((missing.status, missing.err[-27:]), (Exit.USAGE, "No such file or directory.\n"))
