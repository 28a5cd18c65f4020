"""
The output of each command of confdctl: at a terminal of 80 and of 200 columns, in a pipe, as JSON and as YAML.

The controller answers from L{TABLE}. Its answers to requests are the subject of the other golden files.
"""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from confd.cli.main import run
from confd.cli.output import Output
from confd.cli.session import Clock, Session
from confd.cli.transport import Reply
from confd.codec import sse
from tests.cli.harness import (
    NOW,
    FakeController,
    answer,
    convergence,
    current_config,
    member,
    preview,
    published,
    rollout,
)
from tests.cli.test_app import commands
from tests.cli.test_output import Terminal, plain
from tests.golden.recording import GoldenTestCase

UUIDS = [f"{number:08x}-7c1f-4a7e-9a30-0d5a4f9c1b2d" for number in (26, 438, 1907)]
CLUSTER = "1a2b3c4d-0000-4000-8000-000000000000"
LONG = "the worker answers 422: /limits/rate: 0 is less than the minimum of 1, as the schema of the team says"


def agent(number: int, state: str | None, **more: Any) -> dict[str, Any]:
    """Return an agent of the list."""
    return {
        "id": UUIDS[number], "hostname": f"web-{number}.eu-west.example.net", "namespace": "default", "state": state,
        "registered_at": "2026-11-20T08:00:00Z", "last_poll": "2026-11-24T11:59:48.5Z", "strategy": "STREAM",
        "metadata": "region=eu-west,tier=edge", "applied_version": 2 if state else None, "verified": state == "applied",
        "applied_tag": "1a2b3c4d.1.2" if state else None, "error": None, "repairs": 0, "duplicate": False,
        "reported_at": "2026-11-24T11:00:00Z" if state else None, "labels": {"region": "eu-west"}, **more,
    }  # fmt: skip


FLEET = [agent(0, "applied"), agent(1, "failed", error=LONG), agent(2, None, last_poll=None)]
REVISION = {
    "version": 2, "epoch": 1, "tag": "1a2b3c4d.1.2", "author": "ann", "created_at": "2026-11-24T11:00:00.5Z",
    "updated_at": "2026-11-24T11:00:00.5Z", "comment": "the new mirror", "poll_interval_seconds": 30,
}  # fmt: skip
DIFF = (
    "--- version 1\n+++ version 2\n@@ -1,3 +1,3 @@\n {\n"
    '-  "url": "https://a.example"\n+  "url": "https://b.example"\n }\n'
)
CHANGE = {
    "id": 41, "namespace": "default", "kind": "publish", "state": "open", "subject": "search team", "author": "ann",
    "approvals": [], "needed": 1, "at": None, "created_at": "2026-11-24T10:00:00Z", "comment": "the new mirror",
    "checksum": "sha256:0", "base": "1a2b3c4d.1.2", "plan": None, "result": None, "diff": {"text": DIFF, "patch": []},
}  # fmt: skip
FREEZE = {
    "id": 3, "namespaces": ["pay-*"], "active": True, "next_from": "2026-11-24T10:00:00Z", "weekly": None,
    "next_until": "2026-11-25T10:00:00Z", "reason": "holidays",
}  # fmt: skip
TOKEN = {
    "id": "7f3a9c21", "name": "ci", "subject": "search team", "created_by": "admin", "expires_at": None,
    "grants": [{"role": "publisher", "namespaces": ["search", "pay-*"]}], "revoked_at": None, "last_used_from": None,
    "created_at": "2026-11-01T10:00:00Z", "last_used_at": "2026-11-24T11:58:00Z",
}  # fmt: skip
#: No secret: nothing has this hash.
SECRET = f"confd_7f3a9c21_{'x' * 43}"
AUDIT = {
    "number": 512, "at": "2026-11-24T11:00:00Z", "who": "ann", "peer": "10.0.0.7", "action": "POST /api/v1/config",
    "target": "default", "request_id": "r-1", "outcome": "done", "detail": "1a2b3c4d.1.2", "previous": "", "hash": "0",
}  # fmt: skip
NAMESPACE = {"name": "default", "version": 2, "updated_at": "2026-11-24T11:00:00Z", "agents": 3, "live_agents": 2}
PLAN = {"name": "canary", "waves": [{"count": 1}, {"percent": 10}], "bake": 60, "built_in": True}
POLICY = {"plan": "direct", "approvals": 1, "self_approval": False, "rollback_free": True, "freeze_exempt": False}
BEHIND = [
    {"id": each["id"], "hostname": each["hostname"], "state": each["state"] or "pending", "version": 1,
     "last_seen": "2026-11-24T11:58:00Z", "error": each["error"]}
    for each in FLEET[1:]
]  # fmt: skip
EPOCH = {"message": "Epoch raised", "cluster_id": CLUSTER, "epoch": 2,
         "namespaces": [{"name": "default", "version": 3, "epoch": 2}]}  # fmt: skip
MEMBERS = [member(UUIDS[0]), member(UUIDS[1], "failed", LONG)]

TABLE: dict[str, Any] = {
    "GET /api/v1/config": current_config({"url": "https://b.example", "limits": {"rate": 1.5}, "text": "a\nb\n"}),
    "POST /api/v1/config": lambda asked: answer(preview(DIFF)) if asked.query.get("dry_run") else published(),
    "POST /api/v1/config/rollback": lambda asked: answer(preview(DIFF)) if "dry_run" in asked.query else published(),
    "GET /api/v1/config/versions/2": answer(REVISION | {"data": {}}),
    "GET /api/v1/config/versions/3": answer(REVISION | {"version": 3, "data": {"url": "https://b.example"}}),
    "GET /api/v1/config/versions/2/convergence": answer(
        convergence(applied=1, failed=1, pending=1) | {"laggards": BEHIND}
    ),
    "GET /api/v1/config/convergence": answer(convergence(applied=3)),
    "GET /api/v1/config/history": answer({"items": [REVISION, REVISION | {"version": 1, "comment": LONG}]}),
    "GET /api/v1/config/diff": answer({"from": 1, "to": 2, "patch": [{"op": "replace", "path": "/url"}], "text": DIFF}),
    "GET /api/v1/namespaces": answer([NAMESPACE, NAMESPACE | {"name": "edge"}]),
    "POST /api/v1/namespaces": answer({"name": "edge", "version": 1}),
    "DELETE /api/v1/namespaces/edge": answer({"message": "Namespace edge retired"}),
    "GET /api/v1/namespaces/default/policy": answer(POLICY),
    "POST /api/v1/namespaces/default/policy": answer(POLICY),
    "GET /api/v1/cluster": answer(
        {"cluster_id": CLUSTER, "epoch": 1, "ahead": {"agents": 0, "epoch": None},
         "foreign": [{"cluster_id": UUIDS[2], "agents": 1, "epoch": 4}]}
    ),
    "POST /api/v1/epoch/raise": answer(EPOCH),
    "POST /api/v1/cluster/adopt": answer(EPOCH | {"message": "Cluster adopted"}),
    "POST /api/v1/signing-key/rotate": answer({"message": "Signing key rotated", "signing_key": "AAAA"}),
    "GET /api/v1/agents": answer(FLEET),
    f"GET /api/v1/agents/{UUIDS[1]}": answer(
        FLEET[1]
        | {"reports": [{"at": "2026-11-24T11:00:00Z", "tag": "1a2b3c4d.1.2", "state": "failed", "error": LONG}]}
    ),
    f"POST /api/v1/agents/{UUIDS[1]}/labels": answer({"labels": {"region": "eu-west", "stage": "canary"}}),
    f"DELETE /api/v1/agents/{UUIDS[1]}": answer({"message": f"Agent {UUIDS[1]} forgotten"}),
    f"POST /api/v1/agents/{UUIDS[1]}/reset": answer({"message": f"Token of agent {UUIDS[1]} reset"}),
    f"DELETE /api/v1/blocked/{UUIDS[1]}": answer({"message": f"Agent {UUIDS[1]} may register again"}),
    "GET /api/v1/blocked": answer({"items": [UUIDS[2]]}),
    "GET /api/v1/audit": answer(
        {"items": [AUDIT, AUDIT | {"number": 511, "outcome": "schema_violation", "detail": LONG}]}
    ),
    "GET /api/v1/rollouts": answer({"items": [rollout()]}),
    "GET /api/v1/rollouts/12": answer(rollout(), etag='"12-1"'),
    "GET /api/v1/rollouts/12/agents": answer({"items": MEMBERS}),
    **{
        f"POST /api/v1/rollouts/12/{verb}": answer(rollout(state, reason=reason))
        for verb, state, reason in (("pause", "paused", "requested"), ("resume", "running", ""),
                                    ("promote", "running", ""), ("abort", "aborted", "requested"),
                                    ("replace", "running", ""), ("checks", "running", ""))
    },
    "GET /api/v1/plans": lambda asked: answer({"items": [PLAN]}),
    "POST /api/v1/plans": answer(PLAN),
    "DELETE /api/v1/plans/night": answer({"message": "Plan night removed"}),
    "GET /api/v1/changes": answer({"items": [CHANGE]}),
    "POST /api/v1/changes": answer(CHANGE),
    "GET /api/v1/changes/41": answer(CHANGE),
    **{
        f"POST /api/v1/changes/41/{verb}": answer(CHANGE | {"state": state})
        for verb, state in (("approve", "approved"), ("reject", "rejected"), ("withdraw", "withdrawn"),
                            ("schedule", "open"), ("rebase", "open"))
    },
    "POST /api/v1/changes/41/apply": answer({"version": 3}),
    "GET /api/v1/freezes": answer({"items": [FREEZE]}),
    "POST /api/v1/freezes": answer(FREEZE),
    "DELETE /api/v1/freezes/3": answer({"message": "Freeze 3 removed"}),
    "GET /api/v1/tokens": answer({"items": [TOKEN]}),
    "GET /api/v1/tokens/7f3a9c21": answer(TOKEN),
    "POST /api/v1/tokens": answer(TOKEN | {"token": SECRET}),
    "POST /api/v1/tokens/7f3a9c21/rotate": answer(TOKEN | {"token": SECRET}),
    "DELETE /api/v1/tokens/7f3a9c21": answer({"message": "Token 7f3a9c21 revoked"}),
    "GET /api/v1/whoami": answer(
        {"name": "ann", "subject": "ann", "kind": "password", "expires_at": None, "grants": [],
         "permissions": {"*": ["agents.read", "audit.read", "config.publish", "config.read", "rollouts.read"]}}
    ),
}  # fmt: skip

#: The events of the namespace, for C{watch}.
EVENTS = [
    ("config", {**REVISION, "namespace": "default", "version": 3, "tag": "1a2b3c4d.1.3"}),
    ("agents", {"agents": FLEET[:2], "more": False}),
    ("convergence", convergence(applied=1, failed=1, pending=1)),
    ("rollout", rollout()),
]

#: What a terminal shows in place of longer values: beginnings of ids, and parts of ages.
_SHORT = re.compile(r"[0-9a-f]{8}|\d+|s|min|h|d|ago|in|now|never")

#: The words of each command, after the name of the group and of the command where they differ.
CASES: dict[str, Sequence[str]] = {
    "get": ["get"], "set": ["set", "url=https://b.example", "-y"], "unset": ["unset", "limits", "--dry-run"],
    "history": ["history"], "diff": ["diff"], "validate": ["validate", "-"], "rollback": ["rollback", "1", "-y"],
    "undo": ["undo", "--dry-run"], "status": ["status"], "agents list": ["agents"],
    "agents show": ["agents", "show", UUIDS[1]], "agents label": ["agents", "label", UUIDS[1], "stage=canary"],
    "agents forget": ["agents", "forget", UUIDS[1], "-y"], "agents block": ["agents", "block", UUIDS[1], "-y"],
    "agents reset": ["agents", "reset", UUIDS[1], "-y"],
    "agents unblock": ["agents", "unblock", UUIDS[1]], "agents blocked": ["agents", "blocked"],
    "namespaces list": ["namespaces"], "namespaces create": ["namespaces", "create", "edge", "url=https://b.example"],
    "namespaces retire": ["namespaces", "retire", "edge", "-y"], "audit list": ["audit"],
    "epoch show": ["epoch"], "epoch raise": ["epoch", "raise", "-y"], "cluster show": ["cluster"],
    "cluster adopt": ["cluster", "adopt", "-y"], "cluster rotate-key": ["cluster", "rotate-key", "-y"],
    "rollout status": ["rollout"], "rollout list": ["rollout", "list"], "rollout show": ["rollout", "show", "12"],
    "rollout agents": ["rollout", "agents"], "rollout pause": ["rollout", "pause"],
    "rollout resume": ["rollout", "resume"], "rollout promote": ["rollout", "promote", "-y"],
    "rollout abort": ["rollout", "abort"], "rollout check": ["rollout", "check", "errors", "pass"],
    "rollout replace": ["rollout", "replace", "limits.rate=10", "-y"], "watch": ["watch", "--count", "4"],
    "plans list": ["plans"], "plans show": ["plans", "show", "canary"],
    "plans set": ["plans", "set", "-"], "plans remove": ["plans", "remove", "night"],
    "policy show": ["policy"], "policy set": ["policy", "set", "--approvals", "1"],
    "change list": ["change"], "change show": ["change", "show", "41"], "change propose": ["change", "propose", "a=1"],
    "change approve": ["change", "approve", "41", "-y"], "change reject": ["change", "reject", "41", "-m", "no"],
    "change withdraw": ["change", "withdraw", "41"], "change schedule": ["change", "schedule", "41", "never"],
    "change rebase": ["change", "rebase", "41"], "change apply": ["change", "apply", "41", "-y"],
    "freeze list": ["freeze"], "freeze add": ["freeze", "add", "--until", "2026-11-25T10:00:00Z", "-m", "holidays"],
    "freeze remove": ["freeze", "remove", "3"], "token list": ["token"], "token show": ["token", "show", "7f3a9c21"],
    "token create": ["token", "create", "ci", "--grant", "publisher:search,pay-*"],
    "token rotate": ["token", "rotate", "7f3a9c21"], "token revoke": ["token", "revoke", "7f3a9c21", "-y"],
    "whoami": ["whoami"], "context list": ["context", "list"],
    "context show": ["context"], "open": ["open"], "explain": ["explain", "quorum"], "doctor": ["doctor"],
}  # fmt: skip

#: Commands whose output depends on files, programs, keys or time, or has one form only; their own tests show it.
ELSEWHERE = {
    "edit", "audit verify", "rollout watch", "bisect", "certificate", "verify", "apply", "import", "export",
    "database init", "database copy", "backup", "exec", "login", "logout", "context use", "man", "completion",
}  # fmt: skip


class ConfdctlGoldenTests(GoldenTestCase):
    """The output of commands, in one file for each form."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()) / "confd"
        self.folder.mkdir(parents=True)
        (self.folder / "config.toml").write_text('[profiles.prod]\nurl = "https://confd.example.com"\n')

    def type(self, words: Sequence[str], form: str, columns: int | None) -> tuple[str, int]:
        """
        Return the output of a command without colours, and its status.

        @param columns: width of the terminal; C{None} for a pipe.
        """
        out, err = (io.StringIO(), io.StringIO()) if columns is None else (Terminal(), Terminal())
        clock = Clock(lambda: NOW, lambda: 0.0, lambda seconds: None)
        screen = Output(out, err, clock.now, columns=lambda: columns or 0)
        environ = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": str(self.folder.parent)}
        frames = [sse.frame(name, json.dumps(value).encode()) for name, value in EVENTS]
        controller = FakeController(dict(TABLE), [[Reply(200, {}, b""), *frames]])
        session = Session(screen, environ, False, lambda url, ca_file, proxy: controller, clock)
        with CliRunner().isolation(input=b'{"name": "night", "url": "https://b.example"}'):
            status = run(session, [*words, "-o", form])
        return plain(out.getvalue()), status

    def test_output(self) -> None:
        for name, form, columns in (
            ("80", "table", 80), ("200", "table", 200), ("pipe", "table", None), ("json", "json", None),
            ("yaml", "yaml", None),
        ):  # fmt: skip
            recorded = []
            for words in CASES.values():
                shown, status = self.type(words, form, columns)
                self.assertIn(status, (0, 9), (words, form, shown))
                self.assertTrue(shown, words)
                recorded.append(f"$ confdctl {shlex.join(words)}\n{shown}")
            with self.subTest(form=name):
                self.assert_golden(f"confdctl-{name}.txt", "\n".join(recorded), varying=False)

    def test_lists_fit_the_terminal_and_break_no_value(self) -> None:
        lists = {" ".join(words): command for words, command in commands()}
        lists = {
            name: each for name, each in lists.items() if any("--sort-by" in option.opts for option in each.params)
        }
        self.assertGreater(len(lists), 10)
        for name in lists:
            for columns in (80, 200):
                shown, _ = self.type(CASES[name], "table", columns)
                self.assertLessEqual(max(map(len, shown.splitlines())), columns, name)
            words = {word for line in self.type(CASES[name], "table", None)[0].splitlines() for word in line.split()}
            shown, _ = self.type(CASES[name], "table", 80)
            broken = [word for word in shown.split() if word not in words and not _SHORT.fullmatch(word)]
            self.assertEqual(broken, [], name)

    def test_every_command_has_a_case(self) -> None:
        known = {" ".join(words) for words, _ in commands()}
        self.assertEqual(
            known - CASES.keys() - ELSEWHERE - {each for each in known if each.startswith("database")}, set()
        )
        self.assertEqual((CASES.keys() | ELSEWHERE) - known, set())
