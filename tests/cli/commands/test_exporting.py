"""Tests of C{export}, and of C{import} with dumps, against a controller in memory."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from confd.cli.errors import Exit
from tests.budgets import budget
from tests.cli.harness import CliHarness, CommandResult
from tests.cli.live_controller import LiveController
from tests.cli.test_dumps import APOLLO, archive, consul
from tests.controller.harness import ADMIN

ENVIRON = {"HOME": "/nonexistent", "ADMIN_PASSWORD": ADMIN[1], "PATH": "/nonexistent"}


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
_VALUES = st.integers(1 - 2**53, 2**53 - 1) | _TEXTS | st.none() | st.booleans() | st.floats(-1e300, 1e300)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory(prefix="confd-export-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        self.start()

    def start(self) -> None:
        """Start an empty controller."""
        self.live = LiveController()
        self.cli = CliHarness(self.live, ENVIRON)

    def run_it(self, *words: object, status: int = 0, answers: str | None = None) -> CommandResult:
        """Type a command, and check its exit status."""
        done: CommandResult = self.cli.type(*map(str, words), answers=answers)
        self.assertEqual(done.status, status, done.out + done.err)
        return done

    def write(self, name: str, content: bytes) -> Path:
        """Write a file beside the exports."""
        path = self.folder / name
        path.write_bytes(content)
        return path


class ExportTests(Case):
    def setUp(self) -> None:
        super().setUp()
        self.run_it("set", "z=1", "a=ü", "--yes")
        self.run_it("namespaces", "create", "edge", "url=https://edge.example")

    def test_apply_finds_no_difference(self) -> None:
        self.run_it("export", self.folder / "out")
        self.assertEqual(sorted(each.name for each in (self.folder / "out").iterdir()), ["default.json", "edge.json"])
        text = (self.folder / "out/default.json").read_text()
        self.assertIn('\n  "a": "ü"', text)
        self.run_it("apply", "-f", self.folder / "out", "--check")

    def test_standard_output(self) -> None:
        found = json.loads(self.run_it("export", "-").out)
        self.assertEqual(found["edge"], {"url": "https://edge.example"})
        self.run_it("export", "-", "--history", status=Exit.USAGE)

    def test_history(self) -> None:
        self.run_it("set", "z=2", "--yes", "-m", "why")
        self.run_it("export", self.folder, "--history")
        lines = [json.loads(each) for each in (self.folder / "default.history.jsonl").read_text().splitlines()]
        self.assertEqual([each["version"] for each in lines], [1, 2, 3])
        last = lines[-1]
        self.assertEqual((last["comment"], last["document"]["z"], last["author"]), ("why", 2, "admin"))
        self.assertLessEqual({"epoch", "created_at", "checksum"}, set(last))

    def test_nothing_is_overwritten_without_force(self) -> None:
        self.write("edge.json", b"mine")
        self.write("other.json", b"mine")
        refused = self.run_it("export", self.folder, status=Exit.CONFLICT)
        self.assertIn("edge.json would be overwritten", refused.err)
        self.assertFalse((self.folder / "default.json").exists())
        self.run_it("export", self.folder, "--force")
        self.assertEqual(json.loads((self.folder / "edge.json").read_text()), {"url": "https://edge.example"})
        self.assertEqual((self.folder / "other.json").read_bytes(), b"mine")

    def test_link_is_not_followed(self) -> None:
        outside = self.write("outside", b"mine")
        folder = self.folder / "out"
        folder.mkdir()
        (folder / "edge.json").symlink_to(outside)
        self.run_it("export", folder, status=Exit.CONFLICT)
        self.run_it("export", folder, "--force")
        self.assertFalse((folder / "edge.json").is_symlink())
        self.assertEqual(outside.read_bytes(), b"mine")

    def test_folder_that_cannot_be_written(self) -> None:
        path = self.write("file", b"")
        self.assertIn("cannot be written", self.run_it("export", path / "x", status=Exit.USAGE).err)

    @settings(max_examples=budget(5, 100))
    @given(st.dictionaries(_TEXTS, _VALUES))
    def test_round_trip_to_an_empty_controller_has_the_same_bytes(self, document: dict[str, object]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            given_file = Path(scratch, "given.json")
            given_file.write_text(json.dumps({**document, "url": "http://x/"}))
            exports = []
            for source in (given_file, Path(scratch, "0", "default.json")):
                self.start()
                self.run_it("import", "--from", "json", source, "--yes", "--force")
                folder = Path(scratch, str(len(exports)))
                self.run_it("export", folder)
                exports.append((folder / "default.json").read_bytes())
            self.assertEqual(*exports)


class ImportTests(Case):
    def test_dump_becomes_a_version_after_a_question(self) -> None:
        path = self.write("dump.json", consul({"app/url": b"http://a", "app/limits/rate": b"7"}))
        command = ("import", "--from", "consul", path, "--prefix", "app/", "--infer")
        self.assertIn("+", self.run_it(*command, "--dry-run").out)
        self.run_it(*command, status=Exit.FAILED, answers="n\n")
        self.assertEqual(self.live.harness.tag().rpartition(".")[2], "1")
        done = self.run_it(*command, answers="y\n")
        self.assertIn("1 value inferred", done.err)
        self.assertIn("flags of the keys are dropped", done.err)
        self.assertEqual(json.loads(self.live.document()), {"url": "http://a", "limits": {"rate": 7}})
        self.assertEqual(self.live.harness.snapshot.require("default").configuration.version, 2)

    def test_several_namespaces_need_a_folder(self) -> None:
        path = self.write("apollo.zip", archive(APOLLO))
        refused = self.run_it("import", "--from", "apollo", path, "--yes", status=Exit.USAGE)
        self.assertIn("holds 4 namespaces, such as application", refused.err)
        self.run_it("import", "--from", "apollo", path, "--to", self.folder / "out")
        self.assertEqual(len(os.listdir(self.folder / "out")), 4)
        self.run_it("import", "--from", "apollo", path, "--to", self.folder / "out", status=Exit.CONFLICT)
        self.assertEqual(json.loads((self.folder / "out/limits.json").read_text()), {"rate": 1})

    def test_document_of_one_namespace_is_written_for_the_chosen_one(self) -> None:
        path = self.write("x.toml", b"a = 1\n")
        self.run_it("import", "--from", "toml", path, "--to", self.folder, "-n", "edge")
        self.assertEqual(json.loads((self.folder / "edge.json").read_text()), {"a": 1})

    def test_options_that_mean_nothing_for_the_go_system(self) -> None:
        self.run_it("import", "--from", "go-database", "x.db", "--infer", status=Exit.USAGE)

    def test_conflicts_are_listed(self) -> None:
        path = self.write("dump.json", consul({"a": b"1", "a/b": b"2"}))
        refused = self.run_it("import", "--from", "consul", path, "--yes", status=Exit.INVALID)
        self.assertIn("a is a value and also has keys below it.", refused.err)
