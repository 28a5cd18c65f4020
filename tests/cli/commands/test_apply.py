"""Tests of C{apply}: a controller becomes equal to a folder, or nothing changes."""

import json
import subprocess
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from confd.codec.yaml_writer import write_yaml
from tests.budgets import budget
from tests.cli.harness import CliHarness, lines
from tests.cli.live_controller import LiveController
from tests.controller.harness import ADMIN

SUFFIXES = {".json": json.dumps, ".yaml": write_yaml, ".yml": json.dumps}
URL = {"url": "https://a.example"}


class Case(SynchronousTestCase):
    """A controller with the namespace default, and an empty folder."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="confd-apply-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.live = LiveController()
        self.cli = CliHarness(self.live, {"HOME": "/nonexistent", "ADMIN_PASSWORD": ADMIN[1], "PATH": "/nonexistent"})

    def write(self, suffix=".json", **documents):
        for name, document in documents.items():
            (self.folder / f"{name}{suffix}").write_text(SUFFIXES[suffix](document))

    def apply(self, *options, status=0, answers=None):
        done = self.cli.type("apply", "-f", str(self.folder), *options, answers=answers)
        self.assertEqual(done.status, status, done.out + done.err)
        return done

    def create(self, *names):
        for name in names:
            self.assertEqual(self.cli.type("namespaces", "create", name, "url=https://old.example").status, 0)

    def versions(self):
        """Return the current versions by namespace."""
        snapshot = self.live.harness.snapshot
        return {name: snapshot.require(name).configuration.version for name in snapshot.namespaces()}


class PublishTests(Case):
    """Without C{--check} and C{--dry-run}."""

    def test_reason_for_break_glass_passes_policies(self):
        self.create("edge", "web")
        for name in ("edge", "web"):
            self.assertEqual(self.cli.type("policy", "set", "-n", name, "--approvals", "1").status, 0)
        self.assertEqual(self.cli.type("namespaces", "retire", "web", "--yes").status, 0)
        self.write(edge=URL, web=URL)
        refused = self.apply("--yes", "--create", status=Exit.DENIED)
        self.assertIn("needs 1 approval", refused.err)
        self.apply("--yes", "--create", "--break-glass", "the shop is down")
        self.assertEqual(self.versions(), {"default": 1, "edge": 2, "web": 2})
        history = json.loads(self.cli.type("history", "-n", "edge", "-o", "json").out)
        self.assertEqual(history[0]["break_glass"], "the shop is down")

    def test_publishes_the_documents_that_differ(self):
        self.create("edge", "web")
        self.write(default=URL, edge={"url": "https://old.example"})
        self.write(".yaml", web={"url": "https://b.example", "limits": {"rate": 1}})
        done = self.apply("--yes")
        tags = {name: self.live.harness.tag(name) for name in ("default", "edge", "web")}
        self.assertEqual(
            lines(done.out),
            [
                f"default: published {tags['default']}",
                f"edge: unchanged {tags['edge']}",
                f"web: published {tags['web']}",
            ],
        )
        self.assertEqual(self.versions(), {"default": 2, "edge": 1, "web": 2})
        self.assertEqual(json.loads(self.live.document("web")), {"url": "https://b.example", "limits": {"rate": 1}})
        self.assertIn('+  "url": "https://a.example"', done.err)

    def test_asks_once_for_all(self):
        self.create("edge")
        self.write(default=URL, edge=URL)
        done = self.apply(answers="n\n", status=Exit.FAILED)
        self.assertEqual(done.err.count("Publish 2 namespaces, for 0 agents (0 of them live)?"), 1)
        self.assertEqual(self.versions(), {"default": 1, "edge": 1})
        self.apply(answers="y\n")
        self.assertEqual(self.versions(), {"default": 2, "edge": 2})
        self.apply(status=0, answers="")

    def test_without_a_terminal_yes_is_needed(self):
        self.write(default=URL)
        self.assertIn("--yes", self.apply(status=Exit.USAGE).err)

    def test_a_refused_document_stops_all(self):
        self.create("edge")
        self.write(default=URL, edge={"url": 1})
        done = self.apply("--yes", status=Exit.INVALID)
        self.assertIn("edge.json: ", done.err)
        self.assertEqual(self.versions(), {"default": 1, "edge": 1})

    def test_a_broken_file_stops_before_the_first_request(self):
        self.write(default=URL)
        (self.folder / "edge.yaml").write_text("a: 1\na: 2\n")
        self.assertIn("line 2", self.apply("--yes", status=Exit.INVALID).err)
        self.assertEqual(self.live.asked, [])

    def test_a_missing_namespace_is_created_on_request_only(self):
        self.write(edge=URL, web=URL)
        done = self.apply("--yes", status=Exit.NOT_FOUND)
        self.assertIn("The namespaces edge, web do not exist; add --create", done.err)
        done = self.apply("--yes", "--create", "-m", "why")
        self.assertEqual([each.split()[:2] for each in lines(done.out)], [["edge:", "created"], ["web:", "created"]])
        self.assertEqual(self.versions(), {"default": 1, "edge": 1, "web": 1})

    def test_a_refused_document_of_a_new_namespace_stops_all(self):
        self.write(default=URL, edge={"url": 1})
        self.assertIn("edge.json: ", self.apply("--yes", "--create", status=Exit.INVALID).err)
        self.assertEqual(self.versions(), {"default": 1})

    def test_another_publisher_is_not_overwritten(self):
        """The second namespace changes after its diff was shown."""
        self.create("edge", "web")
        self.write(default=URL, edge=URL, web=URL)

        def publish(method, path):
            if method == "POST" and "namespace=edge" in path and "dry_run" not in path:
                self.live.before = lambda method, path: None
                self.assertEqual(self.cli.type("set", "-n", "edge", "url=https://c.example", "-y").status, 0)

        self.live.before = publish
        done = self.apply("--yes", status=Exit.CONFLICT)
        self.assertIn("Done: default.", done.err)
        self.assertIn("Not done: edge, web.", done.err)
        self.assertIn("confdctl diff 1 -n edge", done.err)
        self.assertEqual(json.loads(self.live.document("edge")), {"url": "https://c.example"})
        self.assertEqual(self.versions(), {"default": 2, "edge": 2, "web": 1})
        self.apply("--yes")
        self.assertEqual(self.versions(), {"default": 2, "edge": 3, "web": 2})

    def test_one_file(self):
        self.write(default=URL)
        self.folder = self.folder / "default.json"
        self.assertIn("default: published", self.apply("--yes").out)
        self.assertIn("folder", self.apply("--yes", "--prune", status=Exit.USAGE).err)

    def test_warnings_and_ignored_files(self):
        self.write(default=URL)
        (self.folder / "README.md").write_text("x")
        (self.folder / "default.json").rename(self.folder / "default.yaml")
        (self.folder / "default.yaml").write_text("url: https://a.example\nmode: 0644\n")
        done = self.apply("--yes", "-v")
        self.assertIn("Line 2: 0644 is read as a string", done.err)
        self.assertIn("Ignored: README.md.", done.err)

    def test_wait_ends_with_the_agents(self):
        """An agent that never reports makes the quorum impossible in time."""
        self.live.harness.join(namespace="default")
        self.write(default=URL)
        done = self.apply("--yes", "--wait", "applied", "--timeout", "5", status=Exit.NO_QUORUM)
        self.assertIn("default: 0 of 1 agent applied version 2", done.err)
        self.assertIn("default: published", done.out)
        self.assertGreaterEqual(sum(self.cli.slept), 5)


class PruneTests(Case):
    """C{--prune}"""

    def test_retires_namespaces_without_a_file(self):
        self.create("edge", "web")
        self.write(edge={"url": "https://old.example"})
        self.assertIn("web: retired", self.apply("--yes", "--prune").out)
        self.assertEqual(self.versions(), {"default": 1, "edge": 1})

    def test_a_namespace_with_live_agents_stays(self):
        self.create("edge", "web")
        self.live.harness.join(namespace="edge")
        self.write(default=URL)
        done = self.apply("--yes", "--prune", status=Exit.CONFLICT)
        self.assertIn("edge stays: 1 agents still ask", done.err)
        self.assertEqual(self.versions(), {"default": 2, "edge": 1})

    def test_an_empty_folder_retires_nothing(self):
        self.create("edge")
        self.assertIn("no document", self.apply("--yes", "--prune", status=Exit.USAGE).err)
        self.assertEqual(self.versions(), {"default": 1, "edge": 1})


class LookTests(Case):
    """C{--check} and C{--dry-run} change nothing."""

    def test_status(self):
        self.create("edge")
        self.write(default=URL, edge={"url": "https://old.example"})
        before = self.versions()
        self.assertIn("default: would be published", self.apply("--dry-run").out)
        done = self.apply("--check", status=Exit.DIFFERENT)
        self.assertIn("differs in 1 namespace.", done.err)
        self.assertIn('+  "url": "https://a.example"', done.out)
        self.assertEqual(self.versions(), before)
        self.apply("--yes")
        self.apply("--check")
        self.apply("--check", "--prune")

    def test_missing_and_extra_namespaces_are_differences(self):
        self.create("web")
        self.write(edge=URL)
        self.assertIn("edge: would be created", self.apply("--check", status=Exit.DIFFERENT).out)
        self.assertIn("web: would be retired", self.apply("--check", "--prune", status=Exit.DIFFERENT).out)
        self.assertIn("--create", self.apply("--dry-run", status=Exit.NOT_FOUND).err)
        self.assertEqual(self.versions(), {"default": 1, "web": 1})

    def test_json(self):
        self.write(default=URL, edge=URL)
        found = json.loads(self.apply("--check", "-o", "json", status=Exit.DIFFERENT).out)
        self.assertEqual([each["action"] for each in found], ["would_be_published", "would_be_created"])
        found = json.loads(self.apply("--yes", "--create", "-o", "json").out)
        self.assertEqual([each["action"] for each in found], ["published", "created"])
        self.assertEqual([each["tag"] for each in found], [self.live.harness.tag(each) for each in ("default", "edge")])
        self.assertIn({"op": "replace", "path": "/url", "value": URL["url"]}, found[0]["patch"])


class CommentTests(Case):
    """The comment names the commit."""

    def comment(self):
        (newest,) = json.loads(self.cli.type("history", "--limit", "1", "-o", "json").out)
        return newest["comment"]

    def test_of_ci_of_git_and_of_nobody(self):
        self.write(default=URL)
        self.apply("--yes")
        self.assertEqual(self.comment(), "")
        self.write(default={"url": "https://b.example"})
        self.cli.environ["GITHUB_SHA"] = "0123456789abcdef" * 2
        self.apply("--yes")
        self.assertEqual(self.comment(), "git 0123456789ab")
        self.write(default=URL)
        self.apply("--yes", "-m", "by hand")
        self.assertEqual(self.comment(), "by hand")

    def test_of_a_repository(self):
        git = ["git", "-C", str(self.folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
        self.write(default=URL)
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
            subprocess.run([*git, *words], check=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
        self.apply("--yes")
        self.assertEqual(self.comment(), f"git {head[:12]}")


DOCUMENTS = st.dictionaries(
    st.sampled_from(["a", "b-1", "default"]),
    st.tuples(
        st.fixed_dictionaries(
            {"url": st.just("https://a.example")}, optional={"x": st.integers(0, 9), "on": st.text("abé1:", max_size=4)}
        ),
        st.sampled_from(list(SUFFIXES)),
    ),
    min_size=1,
)


class ConvergenceTests(Case):
    """Any folder, in any format."""

    @settings(max_examples=budget(10, 25))
    @given(st.lists(DOCUMENTS, min_size=1, max_size=3))
    def test_applied_twice_publishes_once(self, folders):
        for each in folders:
            for path in self.folder.iterdir():
                path.unlink()
            for name, (document, suffix) in each.items():
                self.write(suffix, **{name: document})
            self.apply("--yes", "--create", "--prune")
            before = self.versions()
            self.assertEqual(set(before), {*each, "default"})
            for name, (document, _) in each.items():
                self.assertEqual(json.loads(self.live.document(name)), document)
            self.live.asked.clear()
            self.apply("--yes", "--create", "--prune")
            self.assertEqual([path for method, path in self.live.asked if method != "GET"], [])
            self.apply("--check", "--prune")
            self.assertEqual(self.versions(), before)
