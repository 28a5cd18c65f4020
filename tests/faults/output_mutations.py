"""The builds whose outputs are broken on purpose."""

from __future__ import annotations

from tests.faults.mutations import Edit, Mutant

_FILE, _SET, _HEALTH = "agent/outputs/file/output.py", "agent/outputs/base.py", "agent/outputs/health.py"
_REPLACEMENT = "agent/outputs/file/replacement.py"
_SET_TESTS, _HEALTH_TESTS = "tests.agent.outputs.test_set.SetTests", "tests.agent.outputs.test_health.HealthTests"

OUTPUT_MUTANTS = (
    Mutant(
        "a file changes while its marker claims a reload",
        (Edit(_FILE, "        await self._clear_marker(None if change.replaced else True)\n", ""),),
        (
            "tests.agent.outputs.test_crashes.CrashTests"
            ".test_before_the_marker_is_written_and_again_before_the_reload_of_the_old_content",
        ),
    ),
    Mutant(
        "the marker is written before the reload",
        (
            Edit(
                _SET,
                '        for kind in ("tests", "reloads", "probes"):\n',
                '        await self._confirm(works)\n        for kind in ("tests", "reloads", "probes"):\n',
            ),
        ),
        ("tests.agent.outputs.test_crashes.CrashTests.test_before_the_reload",),
    ),
    Mutant(
        "a staged file is not synced",
        (
            Edit(
                _REPLACEMENT,
                "                os.fchmod(descriptor, mode)\n                self.sync(descriptor)\n",
                "                os.fchmod(descriptor, mode)\n",
            ),
        ),
        (
            "tests.agent.outputs.file.test_replacement.SyncTests"
            ".test_the_content_comes_before_the_name_and_the_folder_after_it",
        ),
    ),
    Mutant(
        "a roll-back without a reload",
        (Edit(_SET, 'await self._run(works, "reloads") if reload else None', "None"),),
        (f"{_SET_TESTS}.test_a_failed_reload_puts_the_old_file_back_in_use",),
    ),
    Mutant(
        "files are compared without their modes",
        (
            Edit(
                _REPLACEMENT,
                "(state.sha, state.mode, state.owner, state.group) == (sha, self.spec.mode, owner, group)",
                "(state.sha, state.owner, state.group) == (sha, owner, group)",
            ),
        ),
        (f"{_SET_TESTS}.test_drift_is_repaired_where_it_is",),
    ),
    Mutant(
        "a health run that an apply killed counts",
        (
            Edit(
                _HEALTH,
                "        except CancelledError:\n            return\n        except Unprocessable as error:\n",
                "        except (CancelledError, Unprocessable) as failure:\n"
                '            error = Unprocessable("health_failed", str(failure))\n',
            ),
        ),
        (f"{_HEALTH_TESTS}.test_an_apply_ends_a_run_which_does_not_count",),
    ),
    Mutant(
        "a repair heals without a run",
        (
            Edit(
                _HEALTH,
                "            for each in self.outputs:\n                each.failures = 0\n",
                '            for each in self.outputs:\n                each.failures, each.words = 0, ""\n',
            ),
        ),
        (f"{_HEALTH_TESTS}.test_a_repair_resets_the_counter_and_heals_nothing",),
    ),
    Mutant(
        "a restart heals without a run",
        (Edit(_HEALTH, "output.words = output.remembered()", 'output.words = ""'),),
        (f"{_HEALTH_TESTS}.test_an_unhealthy_output_stays_so_over_a_restart_and_is_checked_at_once",),
    ),
)
