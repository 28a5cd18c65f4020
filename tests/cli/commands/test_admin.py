"""Tests of C{namespaces}, C{audit}, C{epoch} and C{cluster}."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from attrs import asdict, evolve
from twisted.trial.unittest import SynchronousTestCase

from confd.audit import Attempt, AuditEntry, AuditOutcome
from confd.cli.errors import Exit
from tests.cli.harness import CliHarness, answer, lines, refusal

UUID = "3f2a1b2c-0000-4000-8000-000000000000"
CLUSTER = {"cluster_id": UUID, "epoch": 1, "ahead": {"agents": 0, "epoch": None}, "foreign": []}


class Case(SynchronousTestCase):
    """A command line and its controller."""

    def setUp(self):
        self.cli = CliHarness()
        self.table = self.cli.controller.table

    def body(self):
        """Return the last request."""
        return self.cli.controller.asked[-1].body


class NamespacesTests(Case):
    """C{namespaces}"""

    def test_list_prints_one_namespace_on_each_line(self):
        found = [{"name": "default", "version": 2, "epoch": 1, "updated_at": "2026-11-24T12:00:00Z", "agents": 3,
                  "live_agents": 1}]  # fmt: skip
        self.table["GET /api/v1/namespaces"] = answer(found)
        self.assertEqual(
            lines(self.cli.type("namespaces").out)[1].split(), ["default", "2", "2026-11-24", "12:00:00Z", "3", "1"]
        )
        self.assertEqual(json.loads(self.cli.type("namespaces", "list", "-o", "json").out), found)

    def test_create_sends_the_document_of_keys_or_of_standard_input(self):
        self.table["POST /api/v1/namespaces"] = answer({"name": "edge", "version": 1}, 201)
        self.assertIn("edge", self.cli.type("namespaces", "create", "edge", "url=x", "-m", "why").out)
        self.assertEqual(self.body(), {"name": "edge", "config": {"url": "x"}, "comment": "why"})
        self.cli.type("namespaces", "create", "edge", "-", stdin=b'{"a": 1}')
        self.assertEqual(self.body(), {"name": "edge", "config": {"a": 1}})
        self.assertEqual(self.cli.type("namespaces", "create", "edge").status, Exit.USAGE)

    def test_retire_asks_first_and_reports_a_refusal(self):
        self.table["GET /api/v1/namespaces"] = answer([{"name": "edge", "version": 4, "agents": 3}])
        self.table["DELETE /api/v1/namespaces/edge"] = refusal(409, "namespace_in_use", "3 agents.")
        ended = self.cli.type("namespaces", "retire", "edge", answers="\n")
        self.assertEqual(ended.status, Exit.FAILED)
        self.assertIn("Retire the namespace edge, with version 4 and 3 agents?", ended.err)
        self.assertEqual(self.cli.controller.requests("DELETE", "/api/v1/namespaces/edge"), [])
        self.assertEqual(self.cli.type("namespaces", "retire", "edge", "-y").status, Exit.CONFLICT)

    def test_retire_names_an_unknown_namespace_before_the_terminal(self):
        self.table["GET /api/v1/namespaces"] = answer([{"name": "edge", "version": 4, "agents": 3}])
        ended = self.cli.type("namespaces", "retire", "egde")
        self.assertEqual(ended.status, Exit.NOT_FOUND)
        self.assertIn("The namespace egde does not exist; these do: edge.", ended.err)


class AuditTests(Case):
    """C{audit}"""

    def setUp(self):
        super().setUp()
        self.chain = []
        previous = ""
        for number in range(1100):
            attempt = Attempt(
                "admin", "127.0.0.1", "POST /api/v1/config", "default\x1b", "r", datetime(2026, 1, 1, tzinfo=UTC)
            )
            self.chain.append(AuditEntry.following(number, previous, "2026-01-01T00:00:00Z", AuditOutcome(attempt)))
            previous = self.chain[-1].hash
        self.table["GET /api/v1/audit"] = self._page

    def _page(self, request):
        before = int(request.query.get("before", 10**6))
        found = [asdict(each) for each in reversed(self.chain) if each.number < before]
        page = found[: int(request.query["limit"])]
        return answer({"items": page} | ({"next": page[-1]["number"]} if len(found) > len(page) else {}))

    def test_list_prints_the_newest_attempts_first_with_escapes(self):
        out = lines(self.cli.type("audit", "--limit", "2").out)
        self.assertEqual([each.split()[0] for each in out], ["NUMBER", "1100", "1099"])
        self.assertIn("default\\x1b", out[1])

    def test_list_is_of_one_caller_or_since_a_time(self):
        self.chain[7] = evolve(self.chain[7], who="ci")
        self.chain[:1000] = [evolve(each, at="2025-12-31T00:00:00Z") for each in self.chain[:1000]]
        read = json.loads(self.cli.type("audit", "--who", "ci", "-o", "json").out)
        self.assertEqual([each["number"] for each in read], [self.chain[7].number])
        before = len(self.cli.controller.asked)
        for since in ("2026-01-01", "2025-12-31T23:00:00+00:00", "8000h"):
            out = self.cli.type("audit", "--since", since, "--limit", "1000", "-o", "json").out
            self.assertEqual(len(json.loads(out)), 100 if since != "8000h" else 1000, since)
        self.assertEqual(len(self.cli.controller.asked) - before, 4, "older pages were read")
        self.assertEqual(self.cli.type("audit", "--since", "monday").status, Exit.USAGE)

    def test_verify_follows_all_pages_and_accepts_its_own_checkpoint(self):
        ended = self.cli.type("audit", "verify")
        self.assertEqual(ended.status, 0, ended.err)
        note = f"1100:{self.chain[-1].hash}"
        self.assertEqual(ended.out, f"Verified 1100 entries. Checkpoint: {note}\n")
        self.assertEqual(self.cli.type("audit", "verify", "--noted", note).status, 0)
        del self.chain[-1]
        ended = self.cli.type("audit", "verify", "--noted", note)
        self.assertEqual((ended.status, ended.out), (Exit.UNSOUND, ""))
        self.assertEqual(self.cli.type("audit", "verify", "--noted", "x").status, Exit.USAGE)

    def test_verify_names_a_changed_or_missing_entry(self):
        good = self.chain[499]
        self.chain[499] = evolve(good, who="nobody")
        ended = self.cli.type("audit", "verify", "-o", "json")
        self.assertEqual(ended.status, Exit.UNSOUND)
        self.assertFalse(json.loads(ended.out)["sound"])
        self.assertIn("Entry 500 ", ended.err)
        del self.chain[499]
        self.assertIn("Entry 500 is missing", self.cli.type("audit", "verify").err)

    def test_verify_of_an_empty_log_prints_no_checkpoint(self):
        del self.chain[:]
        self.assertIn("Verified 0 entries", self.cli.type("audit", "verify").out)

    def _export(self, entries):
        """Write an export, and return its path."""
        path = Path(self.mktemp())
        path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in entries))
        return str(path)

    def test_export_that_begins_later_ends_earlier_and_repeats_proves_its_range(self):
        path = self._export([*self.chain[99:600], *self.chain[499:1000]])
        ended = self.cli.type("audit", "verify", "--against", path, "--noted", f"1:{self.chain[0].hash}")
        self.assertEqual(ended.status, 0, ended.err)
        self.assertIn("Verified 1100 entries. The export covers 100 to 1000. Checkpoint: 1100:", ended.out)
        found = json.loads(self.cli.type("audit", "verify", "--against", path, "-o", "json").out)
        self.assertEqual((found["sound"], found["export"]), (True, {"first": 100, "last": 1000}))

    def test_database_with_a_new_chain_differs_from_the_export(self):
        path = self._export(self.chain)
        rewritten, previous = [], self.chain[35].hash
        for old in self.chain[36:]:
            fake = AuditOutcome(
                Attempt("nobody", old.peer, old.action, old.target, "r", datetime(2026, 1, 1, tzinfo=UTC))
            )
            rewritten.append(AuditEntry.following(old.number - 1, previous, old.at, fake))
            previous = rewritten[-1].hash
        self.chain[36:] = rewritten
        self.assertEqual(self.cli.type("audit", "verify").status, 0)
        ended = self.cli.type("audit", "verify", "--against", path)
        self.assertEqual((ended.status, ended.out), (Exit.UNSOUND, ""))
        self.assertIn("Entry 37 differs from the export: the database of the controller was changed", ended.err)

    def test_database_without_its_end_lacks_an_exported_entry(self):
        path = self._export(self.chain)
        del self.chain[1000:]
        ended = self.cli.type("audit", "verify", "--against", path, "-o", "json")
        self.assertEqual(ended.status, Exit.UNSOUND)
        self.assertIn("Entry 1001 is in the export and not at the controller", json.loads(ended.out)["reason"])

    def test_damaged_exports_are_named(self):
        good = self.chain[:20]
        changed = [*good[:11], evolve(good[11], who="nobody"), *good[12:]]
        other = evolve(good[11], who="nobody")
        for entries, number in (
            (changed, 12),
            ([*good[:11], *good[12:]], 12),
            ([*good, evolve(other, hash=other.digest())], 12),
            ([*good[:11], evolve(other, hash=other.digest()), *good[12:]], 13),
        ):
            ended = self.cli.type("audit", "verify", "--against", self._export(entries))
            self.assertEqual(ended.status, Exit.UNSOUND)
            self.assertIn(f"The export is damaged at entry {number}.", ended.err)

    def test_lines_that_are_no_entries_are_named(self):
        path = self._export(self.chain[:3])
        for line in (b"{}", b"null", b"\xff", b"[", b'"', b'{"number": 1}', b"[1]"):
            Path(path).write_bytes(msgspec.json.encode(self.chain[0]) + b"\n\n" + line + b"\n")
            ended = self.cli.type("audit", "verify", "--against", path)
            self.assertEqual(ended.status, Exit.INVALID)
            self.assertIn(f"{path}, line 3: this is not an audit entry.", ended.err)
        self.assertEqual(self.cli.type("audit", "verify", "--against", self._export([])).status, Exit.INVALID)
        self.assertEqual(self.cli.type("audit", "verify", "--against", "nowhere").status, Exit.USAGE)

    def test_line_that_a_crash_cut_counts_for_nothing(self):
        path = self._export([])
        first, second, third = (msgspec.json.encode(each) for each in self.chain[:3])
        for cut in (second[:-1], second[:5] + b"\n" + second[:30], third[:200], b"{"):
            Path(path).write_bytes(b"\n".join((first, cut, second, third[:40])))
            ended = self.cli.type("audit", "verify", "--against", path)
            self.assertEqual(ended.status, 0, ended.err)
            self.assertIn("The export covers 1 to 2.", ended.out)
        Path(path).write_bytes(b"\n".join((first, second[:-1], third)))
        ended = self.cli.type("audit", "verify", "--against", path)
        self.assertEqual(ended.status, Exit.UNSOUND)
        self.assertIn("The export is damaged at entry 2.", ended.err)

    def test_verify_refuses_unknown_entries(self):
        self.table["GET /api/v1/audit"] = answer({"items": [asdict(self.chain[0]) | {"more": 1}]})
        self.assertEqual(self.cli.type("audit", "verify").status, Exit.FAILED)


class IdentityTests(Case):
    """C{epoch} and C{cluster}"""

    def test_show_names_the_remedy_for_agents_that_do_not_follow(self):
        self.table["GET /api/v1/cluster"] = answer(CLUSTER)
        for words in (["epoch"], ["epoch", "show"], ["cluster"], ["cluster", "show"]):
            self.assertEqual(lines(self.cli.type(*words).out), [f"Cluster  {UUID}", "Epoch    1"])
        named = {"address": "web1, tcp:8080", "release": "2.0", "state": "running", "lag": 3, "seen_seq": 7}
        self.table["GET /api/v1/cluster"] = answer(CLUSTER | {"controllers": [named]})
        shown = lines(self.cli.type("cluster").out)[-2:]
        self.assertEqual(shown[0].split(), ["ADDRESS", "RELEASE", "STATE", "LAG"])
        self.assertEqual(shown[1].split(), ["web1,", "tcp:8080", "2.0", "running", "3"])
        amiss = {"ahead": {"agents": 3, "epoch": 2}, "foreign": [{"cluster_id": "f-1", "agents": 4, "epoch": 7}]}
        self.table["GET /api/v1/cluster"] = answer(CLUSTER | amiss)
        out = self.cli.type("cluster").out
        self.assertIn("3 agents ahead", out)
        self.assertIn("confdctl epoch raise", out)
        self.assertIn("confdctl cluster adopt f-1", out)

    def test_rotate_key_asks_first_and_prints_the_new_key(self):
        self.table["POST /api/v1/signing-key/rotate"] = answer({"message": "A new key", "signing_key": "ed25519:abc"})
        self.assertEqual(self.cli.type("cluster", "rotate-key", answers="n\n").status, Exit.FAILED)
        self.assertEqual(self.cli.controller.asked, [])
        self.assertIn("ed25519:abc", self.cli.type("cluster", "rotate-key", "-y").out)

    def test_raise_and_adopt_ask_first_and_send_only_given_values(self):
        made = {
            "message": "Done",
            "epoch": 2,
            "cluster_id": UUID,
            "namespaces": [{"name": "default", "version": 4, "epoch": 2}],
        }
        self.table["POST /api/v1/epoch/raise"] = self.table["POST /api/v1/cluster/adopt"] = answer(made)
        self.assertEqual(self.cli.type("epoch", "raise", answers="\n").status, Exit.FAILED)
        self.assertEqual(self.cli.type("cluster", "adopt", UUID).status, Exit.USAGE)
        self.assertEqual(self.cli.controller.asked, [])
        ended = self.cli.type("epoch", "raise", answers="y\n")
        self.assertIn(f"cluster {UUID}, epoch 2", ended.out)
        self.assertEqual(self.body(), {})
        self.cli.type("epoch", "raise", "-y", "--to", "5", "-m", "why")
        self.assertEqual(self.body(), {"epoch": 5, "comment": "why"})
        self.cli.type("cluster", "adopt", UUID, "-y", "--epoch", "9")
        self.assertEqual(self.body(), {"cluster_id": UUID, "epoch": 9})
        self.assertEqual(self.cli.type("cluster", "adopt", "x", "-y").status, Exit.USAGE)

    def test_adopt_without_an_id_takes_the_only_other_cluster(self):
        made = {"message": "Adopted", "epoch": 8, "cluster_id": UUID, "namespaces": []}
        self.table["POST /api/v1/cluster/adopt"] = answer(made)
        other = {"cluster_id": UUID, "agents": 4, "epoch": 7}
        for foreign, status in (([], Exit.NOT_FOUND), ([other], Exit.OK), ([other, other], Exit.USAGE)):
            self.table["GET /api/v1/cluster"] = answer(CLUSTER | {"foreign": foreign})
            ended = self.cli.type("cluster", "adopt", "-y")
            self.assertEqual(ended.status, status, ended.err)
        [sent] = self.cli.controller.requests("POST", "/api/v1/cluster/adopt")
        self.assertEqual(sent.body, {"cluster_id": UUID})
        self.table["GET /api/v1/cluster"] = answer(CLUSTER | {"foreign": [other]})
        self.assertIn(f"Adopt the cluster {UUID}", self.cli.type("cluster", "adopt", answers="n\n").err)

    def test_wait_ends_when_an_agent_reports_or_the_time_is_over(self):
        reported = {"ahead": {"agents": 3, "epoch": 2}, "foreign": [{"cluster_id": "f-1", "agents": 4, "epoch": 7}]}
        for name, said in (("epoch", "3 agents ahead"), ("cluster", "4 agents of another cluster")):
            self.table["GET /api/v1/cluster"] = [answer(CLUSTER), answer(CLUSTER), answer(CLUSTER | reported)]
            ended = self.cli.type(name, "--wait", "5")
            self.assertEqual(ended.status, 0, ended.err)
            self.assertIn(said, ended.out)
            self.table["GET /api/v1/cluster"] = answer(CLUSTER)
            ended = self.cli.type(name, "--wait", "5")
            self.assertEqual(ended.status, Exit.NO_QUORUM)
            self.assertIn("No agent has reported within 5 s", ended.err)
