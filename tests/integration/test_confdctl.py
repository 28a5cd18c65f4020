"""confdctl as users and scripts call it, with real daemons."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from tests.cli.harness import CommandResult
from tests.integration.commands import confdctl
from tests.integration.fleet import ADMIN, PATIENCE, Fleet, clean_environment, eventually, free_port, request
from tests.integration.launcher import fork
from tests.integration.terminal import Terminal

CONFDCTL = (sys.executable, "-m", "confd.cli")
RED, GREEN = "\x1b[31m", "\x1b[32m"


class Case(SynchronousTestCase):
    """A user with a shell in a folder."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.fleet = Fleet(self.folder, launch=fork)
        self.addCleanup(self.fleet.close)
        self.environ = clean_environment() | {
            "CONFD_URL": self.fleet.url,
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
        }

    def dev(self) -> None:
        """Start controller, agent and worker in one process."""
        ports = ["--port", str(self.fleet.port), "--worker-port", str(free_port())]
        process = self.fleet.add("dev", ["confd-dev", *ports], f"{self.fleet.url}/ready")
        process.start()
        eventually(lambda: request("GET", f"{self.fleet.url}/api/v1/agents", auth=ADMIN).json())
        self.assertEqual([line for line in process.log.splitlines() if '"warn"' in line], [])

    def type(self, *words: str, stdin: str = "", **environ: str) -> CommandResult:
        """Run a command in this process, with real connections, in the folder of the test."""
        return confdctl(*words, environ=self.environ | environ, folder=self.folder, stdin=stdin)

    def start(self, *words: str, stdin: str = "", **environ: str) -> CommandResult:
        """Run a command in a process of its own."""
        done = subprocess.run(
            [*CONFDCTL, *words],
            input=stdin,
            env=self.environ | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertNotIn("Traceback", done.stderr)
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def good(self, *words: str, **how: str) -> str:
        """Run a command that must succeed, and return its output."""
        done = self.type(*words, **how)
        self.assertEqual(done.status, 0, f"{words}\n{done.out}{done.err}")
        return done.out

    def value(self, *words: str, **how: str) -> Any:
        """Run a command that must succeed, and return its output for scripts."""
        return json.loads(self.good(*words, "-o", "json", **how))

    def refused(self, status: Exit, *words: str, **how: str) -> str:
        """Run a command that must fail and print nothing else, and return its error."""
        done = self.type(*words, **how)
        self.assertEqual((done.status, done.out), (status, ""), f"{words}\n{done.err}")
        self.assertTrue(done.err.startswith("confdctl: "), done.err)
        return done.err

    def terminal(self, *words: str, **environ: str) -> Terminal:
        """Return a command at a terminal."""
        return Terminal([*CONFDCTL, *words], self.environ | environ)

    @contextlib.contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command beside the test; kill it afterwards."""
        with subprocess.Popen(
            [*CONFDCTL, *words], env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            try:
                yield child
            finally:
                child.kill()

    def editor(self, script: str) -> str:
        """Return an editor that runs a script; the file is C{$1}."""
        path = self.folder / "editor"
        path.write_text(f"#!/bin/sh\nset -e\n{script}\n")
        path.chmod(0o755)
        return str(path)


class ScriptTests(Case):
    """Commands without a terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.dev()

    def test_change(self) -> None:
        """A change is published, applied, read, and rolled back, and the audit log has each step."""
        url = f"{self.fleet.url}/ready"
        done = self.value("set", f"url={url}", "a.b=[1]", "-m", "why", "--yes", "--wait", "applied")
        self.assertEqual((done["version"], done["convergence"]["applied"]), (2, 1))
        self.assertEqual(self.value("get"), {"url": url, "a": {"b": [1]}})
        self.assertEqual(self.good("get", "url"), f"{url}\n")
        self.assertIn("1 applied", self.good("status"))
        (changed,) = self.value("diff", "1")["patch"][:1]
        self.assertIn(changed["op"], ("add", "replace"))
        self.good("rollback", "1", "--yes")
        newest, second, first = self.value("history")
        self.assertEqual((newest["version"], newest["rollback_of"]), (3, 1))
        self.assertEqual((second["comment"], second["author"], first["version"]), ("why", "admin", 1))
        self.assertEqual(self.value("get", "--version", "2")["url"], url)
        piped = self.start("set", "-", "--yes", stdin=json.dumps({"url": url, "via": "pipe"}))
        self.assertEqual(piped.status, 0, piped.err)
        self.assertEqual(self.value("get", "via"), "pipe")
        self.assertIn("Nothing to publish", self.good("set", "via=pipe", "--yes"))
        self.assertEqual([each["outcome"] for each in self.value("audit")], ["unchanged", *["done"] * 3])
        sound = self.value("audit", "verify")
        self.assertEqual((sound["sound"], sound["entries"]), (True, 4))
        self.good("audit", "verify", "--noted", sound["note"])

    def test_fleet(self) -> None:
        """Agents are listed, healthy, and forgotten."""
        self.good("set", f"url={self.fleet.url}/health", "n=1", "--yes", "--wait", "applied")
        (agent,) = self.value("agents", "--state", "applied")
        self.assertEqual(self.value("agents", "show", agent["id"])["hostname"], agent["hostname"])
        self.assertEqual(self.value("agents", "--match", "no such agent"), [])
        self.assertEqual({each["state"] for each in self.value("doctor")}, {"ok"})
        self.good("agents", "forget", agent["id"], "--yes")
        self.refused(Exit.NOT_FOUND, "agents", "show", "nobody")

    def test_identity(self) -> None:
        """The agent follows a raised epoch; it does not follow another cluster, and doctor says why."""
        before = self.value("epoch")
        raised = self.value("epoch", "raise", "--yes", "-m", "restored")
        self.assertEqual((raised["epoch"], raised["cluster_id"]), (before["epoch"] + 1, before["cluster_id"]))
        tag = f"{before['cluster_id'][:8]}.{raised['epoch']}.2"
        eventually(lambda: [each["applied_tag"] for each in self.value("agents")] == [tag])
        other = "3f2a1b2c-0000-4000-8000-000000000000"
        self.assertEqual(self.value("cluster", "adopt", other, "--epoch", "7", "--yes")["cluster_id"], other)
        (foreign,) = eventually(lambda: self.value("cluster")["foreign"])
        self.assertEqual(foreign["cluster_id"], before["cluster_id"])
        done = self.type("doctor")
        self.assertEqual(done.status, Exit.UNSOUND)
        self.assertIn(f"confdctl cluster adopt {before['cluster_id']}", done.out)

    def test_namespaces(self) -> None:
        """A namespace is created, used and retired."""
        (self.folder / "edge.json").write_text('{"url": "https://example.com"}')
        self.good("namespaces", "create", "edge", "edge.json")
        self.good("-n", "edge", "set", "url=https://example.org", "--yes")
        self.assertEqual(self.good("get", "url", "-n", "edge"), "https://example.org\n")
        self.assertEqual(
            {each["name"]: each["version"] for each in self.value("namespaces")}, {"default": 1, "edge": 2}
        )
        self.good("namespaces", "retire", "edge", "--yes")
        self.refused(Exit.NOT_FOUND, "get", "-n", "edge")
        self.refused(Exit.CONFLICT, "namespaces", "retire", "default", "--yes")

    def test_bad_input(self) -> None:
        """Each mistake gives a sentence and a status, and changes nothing."""
        (self.folder / "large.json").write_text(json.dumps({"url": "https://example.com", "x": "y" * 2_000_000}))
        (self.folder / "huge.json").write_bytes(b" " * 5_000_000)
        for status, words, said in (
            (Exit.INVALID, ["set", "url=ftp://x", "--yes"], "/url: "),
            (Exit.INVALID, ["set", "--unset", "url", "--yes"], "url"),
            (Exit.INVALID, ["set", "large.json", "--yes"], "1048576"),
            (Exit.INVALID, ["set", "huge.json", "--yes"], "4194304"),
            (Exit.CONFLICT, ["set", "a=1", "--yes", "--if-match", "00000000.1.1"], "confdctl diff"),
            (Exit.NOT_FOUND, ["rollback", "99", "--yes"], "99"),
            (Exit.NOT_FOUND, ["diff", "98", "99"], "9"),
            (Exit.NOT_FOUND, ["get", "--version", "99"], "99"),
            (Exit.NOT_FOUND, ["status", "-n", "nowhere"], "nowhere"),
            (Exit.UNREACHABLE, ["get", "--url", f"http://127.0.0.1:{free_port()}"], "start it"),
        ):
            with self.subTest(words=words):
                error = self.refused(status, *words)
                self.assertIn(said, error)
        for words in (["set", "a=1", "--yes"], ["watch"]):
            error = self.refused(Exit.DENIED, *words, ADMIN_PASSWORD="hunter2")
            self.assertNotIn("hunter2", error)
        self.assertEqual(len(self.value("history")), 1)

    def test_watch(self) -> None:
        """Each change appears when it happens, and the text of an author does not move the cursor."""
        with self.started("watch", "--only", "config", "--count", "2") as watching:
            assert watching.stdout is not None
            self.assertIn(".1.1 by ", watching.stdout.readline())
            self.good("set", "a=1", "--yes", "-m", "\x1b[2Jwhy")
            self.assertIn(".1.2 by admin: \\x1b[2Jwhy", watching.stdout.readline())
            self.assertEqual(watching.wait(PATIENCE), 0)

    def test_interrupted(self) -> None:
        """Ctrl-C and a closed pipe are no errors."""
        with self.started("watch") as watching:
            assert watching.stdout is not None and watching.stderr is not None
            watching.stdout.readline()
            watching.send_signal(2)
            self.assertEqual(watching.wait(PATIENCE), Exit.INTERRUPTED)
            self.assertEqual(watching.stderr.read().strip(), "")
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write) as nowhere:
            done = subprocess.run(
                [*CONFDCTL, "history"], env=self.environ, stdout=nowhere, stderr=subprocess.PIPE, text=True, check=False
            )
        self.assertEqual((done.returncode, done.stderr), (Exit.BROKEN_PIPE, ""))


class TerminalTests(Case):
    """Commands at a terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.dev()

    def test_asks(self) -> None:
        """confdctl shows the difference in colours, asks, and shows a bar while the fleet follows."""
        with self.terminal("set", "a=1", "--wait", "applied") as screen:
            screen.expect(f'{GREEN}+  "a": 1')
            screen.expect("Publish this as version 2 of default, for 1 agent")
            screen.type("n\n")
            screen.expect("Nothing was changed.")
            self.assertEqual(screen.end(), Exit.FAILED)
        with self.terminal("set", "a=1", "--wait", "applied", NO_COLOR="1") as screen:
            screen.expect('\n+  "a": 1')
            screen.expect("[y/N]")
            screen.type("y\n")
            screen.expect("Published version 2 of default")
            screen.expect("1 of 1 agent applied version 2.")
            self.assertEqual(screen.end(), 0)
        self.assertNotIn(RED, screen.shown)
        with self.terminal("set", "a=2") as screen:
            screen.expect("[y/N]")
            self.assertEqual(screen.interrupt(), Exit.INTERRUPTED)
        self.assertEqual(len(self.value("history")), 2)

    def test_editor(self) -> None:
        """A text that the schema refuses is offered again; a correct text is published."""
        editor = self.editor(
            'grep -q ftp "$1" && echo \'{"url": "https://example.org"}\' > "$1" || echo \'{"url": "ftp://x"}\' > "$1"'
        )
        with self.terminal("set", "--edit", EDITOR=editor) as screen:
            screen.expect("/url: ")
            screen.expect("Edit the text again? [Y/n]")
            screen.type("\n")
            screen.expect("[y/N]")
            screen.type("y\n")
            self.assertEqual(screen.end(), 0)
        self.assertEqual(self.value("get"), {"url": "https://example.org"})
        self.assertEqual(list(self.folder.glob("confdctl-*")), [])

    def test_lost_race(self) -> None:
        """An admin publishes while the editor is open: edit reports it, and keeps the text for a next attempt."""
        theirs = f"{' '.join(CONFDCTL)} set a=theirs --yes >/dev/null"
        editor = self.editor(f'{theirs}\necho \'{{"url": "https://example.org", "mine": 1}}\' > "$1"')
        with self.terminal("set", "--edit", "--yes", EDITOR=editor) as screen:
            screen.expect("kept in ")
            self.assertEqual(screen.end(), Exit.CONFLICT)
        (kept,) = self.folder.glob("confdctl-*/default.json")
        self.assertIn(str(kept), screen.shown)
        self.assertEqual(self.value("get", "a"), "theirs")
        self.good("set", str(kept), "--yes")
        self.assertEqual(self.value("get", "mine"), 1)

    def test_hostile(self) -> None:
        """The names of agents do not control the terminal."""
        body = {"hostname": "\x1b]0;owned\x07[bold red]h", "metadata": "\u202ex"}
        request("POST", f"{self.fleet.url}/api/v1/register", body, ("agent", "secret123"))
        with self.terminal("agents", "--match", "owned") as screen:
            self.assertEqual(screen.end(), 0)
        self.assertNotIn("\x1b]", screen.shown)
        self.assertNotIn("\u202e", screen.shown)
        self.assertIn("\\x1b]0;owned\\x07[bold red]h", screen.shown.replace("\r\n", ""))


class ElsewhereTests(Case):
    """Passwords, profiles, and a fleet that does not follow."""

    def test_passwords(self) -> None:
        """A password comes from the terminal without an echo, from a file, and from a profile."""
        self.fleet.controller("--admin-password", "open sesame").start()
        with self.terminal("get", "url") as screen:
            screen.expect("Password of admin:")
            screen.type("open sesame\n")
            self.assertEqual(screen.end(), 0)
        self.assertNotIn("sesame", screen.shown)
        folder = self.folder / ".config" / "confd"
        folder.mkdir(parents=True)
        (folder / "password").write_text("open sesame\n")
        (folder / "password").chmod(0o600)
        (folder / "config.toml").write_text(f'[profiles.here]\nurl = "{self.fleet.url}"\npassword_file = "password"\n')
        self.good("get", "--password-file", str(folder / "password"))
        for words, environ in (["--password-file", "/dev/stdin"], {}), ([], {"ADMIN_PASSWORD_FILE": "/dev/stdin"}):
            self.assertEqual(self.start("get", *words, stdin="open sesame\n", **environ).status, 0)
        self.good("--profile", "here", "get", CONFD_URL="http://127.0.0.1:1")
        self.good("get", CONFD_PROFILE="here", CONFD_URL="")
        (folder / "config.toml").chmod(0o666)
        self.assertIn("chmod go-w", self.refused(Exit.USAGE, "get"))

    def test_no_quorum(self) -> None:
        """Without its worker, an agent is behind; confdctl says which."""
        self.fleet.controller().start()
        self.fleet.agent(f"http://127.0.0.1:{free_port()}").start()
        eventually(lambda: self.value("agents"))
        done = self.type("set", "a=1", "--yes", "--wait", "applied", "--timeout", "1")
        self.assertEqual(done.status, Exit.NO_QUORUM)
        self.assertIn("Published version 2", done.out)
        self.assertIn("0 of 1 agent applied version 2.", done.out)
        self.assertEqual(len(self.value("status")["convergence"]["laggards"]), 1)

    def test_controller_comes_and_goes(self) -> None:
        """A watch continues after a restart."""
        controller = self.fleet.controller().start()
        with self.started("watch", "--only", "config", "--count", "2") as watching:
            assert watching.stdout is not None
            self.assertIn(".1.1", watching.stdout.readline())
            controller.stop()
            controller.start()
            self.assertIn(".1.1", watching.stdout.readline())
            self.assertEqual(watching.wait(PATIENCE), 0)


class StartTests(Case):
    """The start of the program."""

    def test_help_is_light(self) -> None:
        """Help and completion import neither Twisted nor rich."""
        asked = {"_CONFDCTL_COMPLETE": "bash_complete"}
        older = asked | {"COMP_WORDS": "confdctl se", "COMP_CWORD": "1"}
        for environ in ({}, older, asked | {"COMP_LINE": "confdctl se"}):
            done = subprocess.run(
                [sys.executable, "-X", "importtime", "-m", "confd.cli", *([] if environ else ["--help"])],
                env=self.environ | environ,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=True,
            )
            self.assertIn("set", done.stdout)
            imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
            self.assertIn("click", imported)
            self.assertEqual(imported & {"twisted", "rich"}, set())


class LaterTests(Case):
    """A controller that limits the rate of changes."""

    def test_too_many_changes(self) -> None:
        """confdctl announces the wait, retries, and publishes."""
        self.fleet.controller("--changes-per-minute", "20").start()
        document = {"url": "https://example.com/before"}
        answers = (self.fleet.publish(document, dry_run="true") for _ in range(40))
        busy = next(answer for answer in answers if answer.status == 429)
        self.assertIn(int(busy.headers["retry-after"]), (1, 2, 3))
        done = self.type("set", "url=https://example.com/after", "-y")
        self.assertEqual(done.status, 0, done.err)
        self.assertIn("Retrying in ", done.err)
        self.assertEqual(self.value("get"), {"url": "https://example.com/after"})


class LabelTests(Case):
    """Labels of a real agent, in a real database."""

    def ids(self, selector: str) -> list[str]:
        """Return the ids of the agents that match a selector."""
        return [each["id"] for each in self.value("agents", "-l", selector)]

    def test_labels_survive_restarts_of_the_controller_and_of_the_agent(self) -> None:
        controller = self.fleet.controller().start()
        worker = self.fleet.worker().start()
        agent = self.fleet.agent(worker, "agent", "--agent-metadata", "region=eu,stage=dev,No good").start()
        [agent_id] = eventually(lambda: self.ids("region=eu,stage=dev"))
        labelled = self.value("agents", "label", agent_id, "stage=canary", "gpu=", "old-")
        self.assertEqual(labelled["labels_set"], {"gpu": "", "stage": "canary"})
        self.assertEqual(labelled["labels_ignored"], ["No good"])
        for process in (controller, agent):
            process.stop()
            process.start()
        for selector in ("stage=canary,gpu", f"id={agent_id},stage in (canary,prod),!old", "strategy"):
            self.assertEqual(eventually(lambda selector=selector: self.ids(selector)), [agent_id], selector)
        self.assertEqual(self.ids("stage=dev"), [])
        self.assertIn("stage=canary", self.good("agents", "show", agent_id))
        self.assertIn("column 7", self.refused(Exit.USAGE, "agents", "-l", "stage=("))
        self.assertIn("gpu=,stage=canary", self.good("audit"))
