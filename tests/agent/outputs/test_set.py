"""Tests of C{confd.agent.outputs.base} with real files and commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from confd.agent.outputs.http import HttpOutput
from confd.errors import Unavailable, Unprocessable
from tests.agent.fakes import FakeWorker
from tests.agent.outputs.machine import Machine, command, configuration

V1, V2, V3 = configuration(1, {"a": 1}), configuration(2, {"a": 2}), configuration(3, {"a": 3})


class SetTests(SynchronousTestCase):
    """One configuration reaches all files, or none."""

    def setUp(self) -> None:
        self.machine = Machine(self.mktemp())

    def deliver(self, configuration: object) -> None:
        self.successResultOf(self.machine.set.deliver(configuration))

    def refused(self, configuration: object) -> Unprocessable:
        return self.failureResultOf(self.machine.set.deliver(configuration), Unprocessable).value

    def state(self) -> tuple[bool, str | None]:
        found = self.successResultOf(self.machine.set.state())
        return found.has_config, found.version

    def test_a_change_is_checked_tested_reloaded_and_probed(self) -> None:
        machine = self.machine
        steps = {each: command(machine.script(each)) for each in ("test", "reload", "probe")}
        machine.add("x.json", check=command(machine.script("check"), "{path}"), **steps)
        machine.start()
        self.assertEqual(self.state(), (False, None))
        self.deliver(V1)
        self.assertEqual(machine.ran(), ["check ", 'test {"a":1}', 'reload {"a":1}', 'probe {"a":1}'])
        self.assertEqual(self.state(), (True, str(V1.tag)))
        self.assertEqual(self.successResultOf(machine.set.checksum()), V1.document.checksum)
        self.assertEqual(machine.names(), ["x.json"])
        self.assertEqual(os.stat(machine.files / "x.json").st_mode & 0o7777, 0o600)

    def test_an_equal_rendering_runs_nothing(self) -> None:
        machine = self.machine
        machine.add("x.json", pointer="/a", reload=command(machine.script("reload")))
        machine.start()
        self.deliver(V1)
        machine.ran()
        again = configuration(2, {"a": 1, "b": 2})
        self.deliver(again)
        self.assertEqual((machine.ran(), self.state()), ([], (True, str(again.tag))))
        machine.start()
        self.deliver(again)
        self.assertEqual((machine.ran(), self.state()), ([], (True, str(again.tag))))

    def test_a_rejected_value_is_named_by_its_place_in_the_document(self) -> None:
        self.machine.add("x.env", pointer="/a", format="env")
        self.machine.start()
        said = self.refused(configuration(1, {"a": {"B": "one\ntwo"}})).message
        self.assertIn("the value at '/a/B' holds a line break", said)

    def test_a_failed_check_leaves_every_file(self) -> None:
        machine = self.machine
        machine.add("x.json", reload=command(machine.script("reload")))
        machine.add("y.json", check=command(machine.script("check", "echo no good; exit 3"), "{path}"))
        machine.start()
        error = self.refused(V1)
        self.assertEqual(error.code, "check_failed")
        self.assertEqual(error.message, f"y.json: The check {machine.folder}/check ended with status 3: no good")
        self.assertEqual(machine.names(), [])
        self.assertEqual(machine.ran(), ["check "])

    def test_a_failed_test_rolls_back_and_reloads_nothing(self) -> None:
        machine = self.machine
        machine.add("x.json", reload=command(machine.script("reload")), test=command(machine.script("test")))
        machine.add("y.json", test=command(machine.script("test")))
        machine.start()
        self.deliver(V1)
        self.assertEqual(machine.ran(), ['test {"a":1}', 'reload {"a":1}'])
        machine.script("test", "exit 1")
        error = self.refused(V2)
        self.assertEqual(error.code, "test_failed")
        self.assertEqual(
            error.message, f"x.json: The test {machine.folder}/test ended with status 1. The previous file is back."
        )
        self.assertEqual(machine.ran(), ['test {"a":2}'])
        self.assertEqual((machine.text("x.json"), machine.text("y.json")), ('{"a":1}', '{"a":1}'))
        self.assertEqual(self.state(), (True, str(V1.tag)))
        self.assertEqual(machine.names(), ["x.json", "y.json"])

    def test_a_failed_reload_puts_the_old_file_back_in_use(self) -> None:
        machine = self.machine
        only_one = 'grep -q 1 "$CONFD_FILE" || { echo bad; exit 3; }'
        machine.add("x.json", reload=command(machine.script("reload", only_one)))
        machine.start()
        self.deliver(V1)
        machine.ran()
        error = self.refused(V2)
        self.assertEqual(error.code, "reload_failed")
        self.assertEqual(
            error.message,
            f"The reload {machine.folder}/reload ended with status 3: bad. The previous file is back and in use.",
        )
        self.assertEqual(machine.ran(), ['reload {"a":2}', 'reload {"a":1}'])
        self.assertEqual(self.state(), (True, str(V1.tag)))
        machine.start()
        self.deliver(V1)
        self.assertEqual(machine.ran(), [])

    def test_a_roll_back_whose_reload_fails_too_leaves_a_reload_owed(self) -> None:
        machine = self.machine
        machine.add("x.json", reload=command(machine.script("reload")))
        machine.start()
        self.deliver(V1)
        machine.script("reload", "exit 4")
        error = self.refused(V2)
        self.assertEqual(error.code, "rollback_failed")
        self.assertIn("but its reload failed too", error.message)
        self.assertEqual((machine.text("x.json"), self.state()[0]), ('{"a":1}', False))
        machine.script("reload")
        machine.ran()
        self.deliver(V1)
        self.assertEqual(machine.ran(), ['reload {"a":1}'])
        self.assertEqual(self.state(), (True, str(V1.tag)))

    def test_a_failed_probe_rolls_back(self) -> None:
        machine = self.machine
        machine.add(
            "x.json",
            reload=command(machine.script("reload")),
            probe=command(machine.script("probe", 'grep -q 1 "$CONFD_FILE"')),
            probe_within=1.0,
        )
        machine.start()
        self.deliver(V1)
        machine.ran()
        applying = machine.set.deliver(V2)
        machine.clock.pump([0.5] * 3)
        error = self.failureResultOf(applying, Unprocessable).value
        self.assertEqual(error.code, "probe_failed")
        self.assertIn(
            "did not succeed within 1 s: ended with status 1. The previous file is back and in use.", error.message
        )
        self.assertEqual(machine.ran()[-1], 'reload {"a":1}')
        self.assertEqual(self.state(), (True, str(V1.tag)))

    def test_a_file_that_did_not_exist_is_removed_again(self) -> None:
        machine = self.machine
        machine.add("x.json", reload=command(machine.script("reload", "exit 1")))
        machine.start()
        self.assertNotIn("previous", self.refused(V1).message)
        self.assertEqual(machine.names(), [])

    def test_shared_steps_run_once(self) -> None:
        machine = self.machine
        reload = command(machine.script("reload"))
        for name in ("x.json", "y.json"):
            machine.add(name, reload=reload)
        machine.start()
        self.deliver(V1)
        self.assertEqual(machine.ran(), ['reload {"a":1}'])

    def test_drift_is_repaired_where_it_is(self) -> None:
        machine = self.machine
        machine.add("x.json", reload=command(machine.script("reload-x")))
        machine.add("y.json", reload=command(machine.script("reload-y")))
        machine.start()
        self.deliver(V1)
        machine.ran()
        path = machine.files / "x.json"
        for spoil in (
            lambda: path.write_text("other"),
            lambda: path.chmod(0o644),
            path.unlink,
            lambda: (path.unlink(), path.symlink_to("/etc/passwd")),
        ):
            spoil()
            self.assertEqual(self.state()[0], False)
            self.deliver(V1)
            self.assertEqual(machine.ran(), ['reload-x {"a":1}'])
            self.assertEqual((machine.text("x.json"), path.is_symlink(), self.state()[0]), ('{"a":1}', False, True))
            machine.clock.advance(61)
        os.utime(path)
        self.assertEqual((self.state()[0], machine.ran()), (True, []))

    def test_a_fight_is_slow_and_reported(self) -> None:
        machine = self.machine
        machine.add("x.json")
        machine.start()
        self.deliver(V1)
        path = machine.files / "x.json"
        for _ in range(3):
            path.write_text("mine")
            self.deliver(V1)
        path.write_text("mine")
        error = self.failureResultOf(machine.set.deliver(V1), Unavailable).value
        self.assertEqual(error.message, f"Another process changes {path}: 3 repairs in 60 s; next repair in 60 s.")
        machine.clock.advance(60)
        self.deliver(V1)
        path.write_text("mine")
        error = self.failureResultOf(machine.set.deliver(V1), Unavailable).value
        self.assertIn("next repair in 120 s", error.message)
        self.deliver(V2)
        self.assertEqual(machine.text("x.json"), '{"a":2}')

    def test_what_depends_on_the_machine_is_tried_again(self) -> None:
        machine = self.machine
        machine.add("x.json", reload=command(machine.script("reload", "exit 1")))
        machine.start()
        self.refused(V1)
        before = self.successResultOf(machine.set.state()).boot_id
        machine.clock.advance(59)
        self.assertEqual(self.successResultOf(machine.set.state()).boot_id, before)
        machine.clock.advance(1)
        self.assertNotEqual(self.successResultOf(machine.set.state()).boot_id, before)
        self.refused(V1)
        machine.clock.advance(119)
        again = self.successResultOf(machine.set.state()).boot_id
        machine.clock.advance(1)
        self.assertNotEqual(self.successResultOf(machine.set.state()).boot_id, again)

    def test_a_newer_version_ends_the_splay(self) -> None:
        machine = self.machine
        machine.splay = 300.0
        machine.add("x.json")
        machine.start()
        waiting = machine.set.deliver(V1)
        self.assertNoResult(waiting)
        machine.set.supersede()
        self.failureResultOf(waiting, Unavailable)
        self.assertEqual(machine.names(), [])
        applying = machine.set.deliver(V2)
        machine.clock.advance(300)
        self.successResultOf(applying)
        self.assertEqual(machine.text("x.json"), '{"a":2}')

    def test_what_cannot_be_rendered_changes_nothing(self) -> None:
        machine = self.machine
        machine.add("x.json")
        machine.add("y.toml", format="toml")
        machine.start()
        error = self.refused(configuration(1, {"a": None}))
        self.assertEqual(error.code, "not_rendered")
        self.assertIn("cannot be rendered: the value at '/a' is null", error.message)
        self.assertEqual(machine.names(), [])

    def test_a_folder_that_is_gone_is_sent_and_heals(self) -> None:
        machine = self.machine
        machine.add("x.json")
        machine.start()
        machine.files.rmdir()
        error = self.failureResultOf(machine.set.deliver(V1), Unavailable).value
        self.assertEqual(error.message, f"{machine.files}/x.json cannot be written: No such file or directory.")
        machine.files.mkdir(mode=0o755)
        self.deliver(V1)

    def test_a_file_that_works_in_place_keeps_its_inode(self) -> None:
        machine = self.machine
        (machine.files / "x.json").write_text("old")
        inode = (machine.files / "x.json").stat().st_ino
        machine.add("x.json", in_place=True, reload=command(machine.script("reload")))
        machine.start()
        self.deliver(V1)
        machine.script("reload", "exit 1")
        self.refused(V2)
        self.assertEqual(machine.text("x.json"), '{"a":1}')
        self.assertEqual((machine.files / "x.json").stat().st_ino, inode)
        self.assertEqual(machine.names(), ["x.json"])

    def test_a_file_that_is_overwritten_is_named_in_the_log(self) -> None:
        machine = self.machine
        machine.add("x.json", in_place=True)
        with capturedLogs() as events:
            machine.start()
        said = [formatEvent(each) for each in events]
        self.assertEqual(said, [f"output x.json: {machine.files}/x.json is overwritten in place, which is not atomic"])

    def test_a_rejected_file_that_cannot_be_kept_is_still_rejected(self) -> None:
        machine = self.machine
        machine.add("x.json", keep_refused=True, check=command(machine.script("check", "exit 3"), "{path}"))
        machine.start()
        (machine.folder / "cache.outputs.d").write_text("a file, and not a folder")
        self.assertEqual(self.refused(V1).code, "check_failed")
        self.assertEqual(machine.names(), [])

    def test_health_stays_in_the_marker_while_another_thread_writes_it(self) -> None:
        """A thread of the health monitor changes the marker between the decision and the write of the output."""
        machine = self.machine
        machine.add("x.json")
        machine.start()
        path = str(machine.files / "x.json")

        def in_thread(work: Callable[..., Any], *rest: object) -> Deferred[Any]:
            if work.__name__ == "change":
                machine.marker.change("x.json", path, lambda entry: evolve(entry, healthy=False, words="It is ill."))
            return maybeDeferred(work, *rest)

        machine.in_thread = in_thread
        self.deliver(V1)
        entry = machine.marker.entry("x.json", path)
        self.assertEqual((entry.words, entry.tag), ("It is ill.", str(V1.tag)))

    def test_a_worker_that_rejects_after_a_reload_that_then_fails(self) -> None:
        machine = self.machine
        worker = FakeWorker(refuses={2})
        machine.worker = HttpOutput(worker)
        only_once = 'test ! -e "$0.ran" || exit 4; grep -q 1 "$CONFD_FILE" || touch "$0.ran"'
        machine.add("x.json", reload=command(machine.script("reload", only_once)))
        machine.start()
        self.deliver(V1)
        error = self.refused(V2)
        self.assertEqual(error.code, "rollback_failed")
        self.assertTrue(error.message.startswith("http: The worker refuses configuration "), error.message)
        self.assertIn("The previous file is back, but its reload failed too: The reload ", error.message)
        self.assertEqual((machine.text("x.json"), self.state()[0]), ('{"a":1}', False))

    def test_an_idle_agent_looks_once_at_each_file_and_reads_none(self) -> None:
        machine = self.machine
        for name in ("x.json", "y.json"):
            machine.add(name, reload=command(machine.script("reload")))
        machine.start()
        self.deliver(V1)
        machine.ran()
        work: list[str] = []

        def in_thread(function: Callable[..., Any], *rest: object) -> Deferred[Any]:
            work.append(function.__name__)
            return maybeDeferred(function, *rest)

        machine.in_thread = in_thread
        for _ in range(3):
            self.assertTrue(self.state()[0])
        self.assertEqual((work, machine.ran()), (["examine"] * 6, []))
