"""The builds whose rollouts are broken on purpose: at least one for each invariant of C{docs/promises.rst}."""

from __future__ import annotations

from tests.faults.mutations import Edit, Mutant

_DECIDE, _PICKING, _STEPS = (f"controller/rollouts/{name}.py" for name in ("decide", "picking", "transitions"))
_DRIVER, _SERVICE, _HEARING = (f"controller/rollouts/{name}.py" for name in ("driver", "service", "hearing"))
_RULES, _SNAPSHOT = "controller/store/rollout_rules.py", "controller/configs/snapshot.py"
_QUERIES, _SYNC, _RANKS = "controller/store/queries", "agent/worker_sync.py", "codec/ranks.py"
_TESTS, _STORE = "tests.controller.rollouts", "tests.controller.store.sqlite.test_store.SqliteRolloutStoreTests"
_DECIDING, _SERVING = f"{_TESTS}.test_decide.DecideTests", f"{_TESTS}.test_service.ServingTests"
_REPORTED = f"{_STORE}.test_reports_move_members"
_CLOCKS, _RACES = f"{_TESTS}.test_service.ClockTests", f"{_TESTS}.test_recovery.RaceTests"
_HEARD = f"{_TESTS}.test_hearing.HearingTests"


def _mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, (Edit(file, old, new),), tests)


ROLLOUT_MUTANTS = (
    _mutant(
        "P1: an abort serves the base again instead of a new version",
        _STEPS,
        '"aborted", rollout.wave, "requested", revert=True',
        '"aborted", rollout.wave, "requested", revert=False',
        f"{_TESTS}.test_service.VerbTests.test_abort_in_every_open_state",
    ),
    _mutant(
        "P2: no agent is detected",
        _SERVICE,
        "        if header:\n            await self._detect",
        "        if not header:\n            await self._detect",
        f"{_SERVING}.test_agent_that_names_the_candidate_becomes_a_member",
    ),
    _mutant(
        "P3: a member is served before its row is committed",
        _SERVICE,
        "        committed = await self._store.detect(",
        "        lane.members.add(agent_id)\n        committed = await self._store.detect(",
        f"{_SERVING}.test_refused_detection_serves_nothing",
    ),
    _mutant(
        "P3: members are in memory only",
        f"{_QUERIES}/members.py",
        "    save_members(cursor, found.rollout.id, members)\n    return members",
        "    return members",
        f"{_STORE}.test_start_exposes_and_keeps_the_base_current",
    ),
    _mutant(
        "P4: the target is rounded down",
        _PICKING,
        "-(-wave.percent * pool // 100)",
        "wave.percent * pool // 100",
        f"{_TESTS}.test_picking.ChooseTests",
    ),
    _mutant(
        "P4: a hash threshold picks the members",
        _PICKING,
        "target(wave, len(pool)), at_once)",
        "sum(rank(salt, each.id) * 100 < target(wave, 100) << 64 for each in pool), at_once)",
        f"{_TESTS}.test_picking.ChooseTests",
    ),
    _mutant(
        "P4: percent of the agents that remain",
        _PICKING,
        "each.id in members or each.id in eligible",
        "each.id not in members and each.id in eligible",
        f"{_TESTS}.test_picking.ChooseTests",
    ),
    _mutant(
        "P5: a report in progress counts as applied",
        _RULES,
        "report.tag == candidate and report.state.final:\n"
        '        state = "applied" if report.state is ReportState.APPLIED else "failed"',
        'report.tag == candidate:\n        state = "failed" if report.state is ReportState.FAILED else "applied"',
        _REPORTED,
    ),
    _mutant("P5: a report of the base counts", _RULES, "report.tag == candidate and", "", _REPORTED),
    _mutant(
        "P5: as many failures as the limit are too many",
        _DECIDE,
        "counts.failures > rollout",
        "counts.failures >= rollout",
        f"{_DECIDING}.test_limit_must_be_exceeded",
    ),
    _mutant(
        "P5: a repair begins no run",
        _RULES,
        'and (member.state != "applied" or repaired > 0)',
        'and member.state != "applied"',
        _REPORTED,
    ),
    _mutant(
        "P5: the quorum is of failed members, too",
        _DECIDE,
        "(counts.applied + counts.pending) // 100",
        "counts.members // 100",
        f"{_TESTS}.test_decide.SettledTests.test_required_is_of_applied_and_pending_members",
    ),
    _mutant(
        "P6: counts are read before the lock",
        _STEPS,
        "        counts = count(members, rollout, around)\n        if decide(rollout, counts, clocks) != due:\n"
        "            return None\n",
        "        counts = count(members, rollout, around)\n",
        f"{_RACES}.test_failure_before_the_gate",
    ),
    _mutant(
        "P6: the gate comes before failures",
        _DECIDE,
        "    failure = _failure(rollout, counts)\n",
        "    failure = settled(rollout, counts, clocks) < required(rollout, counts) and _failure(rollout, counts)\n",
        f"{_DECIDING}.test_failures_come_before_the_gate_and_the_gate_before_patience",
    ),
    _mutant(
        "P7: a forgotten agent stays a member",
        f"{_QUERIES}/members.py",
        "SET gone = 1",
        "SET gone = 0",
        f"{_STORE}.test_agent_that_left_keeps_its_runs",
    ),
    _mutant(
        "P7: an empty wave passes",
        _DECIDE,
        "return max(1, -(-quorum",
        "return max(0, -(-quorum",
        f"{_DECIDING}.test_wave_of_unfit_members_does_not_pass_without_evidence",
    ),
    _mutant(
        "P8: a paused rollout refuses an abort",
        _STEPS,
        '        if rollout.state == "aborted":\n            return None\n',
        '        if rollout.state in ("aborted", "paused"):\n            return None\n',
        f"{_TESTS}.test_service.VerbTests.test_abort_in_every_open_state",
    ),
    _mutant(
        "P8: a finishing rollout refuses an abort",
        _STEPS,
        '        if rollout.state == "aborted":\n            return None\n',
        '        if rollout.state in ("aborted", "finishing"):\n            return None\n',
        f"{_TESTS}.test_service.VerbTests.test_abort_in_every_open_state",
    ),
    _mutant(
        "P9: a replacement forgets what it has to judge",
        _RULES,
        "        return [reset_member(each, at) for each in members]",
        "        return []",
        f"{_STORE}.test_replace_keeps_members_and_starts_over",
    ),
    _mutant(
        "P9: a replacement skips waves whose target is met",
        _STEPS,
        'NextStep("running", 1, draft=draft',
        'NextStep("running", rollout.wave, draft=draft',
        f"{_TESTS}.test_service.VerbTests.test_replace_judges_the_new_candidate_on_all_members",
    ),
    _mutant(
        "P10: the newest version is the current one",
        f"{_QUERIES}/configs.py",
        "            n.current_version, (SELECT max(version)",
        "            NULL, (SELECT max(version)",
        f"{_STORE}.test_start_exposes_and_keeps_the_base_current",
    ),
    _mutant(
        "P10: callers outside of the rollout are served the candidate",
        _SNAPSHOT,
        "if lane is not None and agent_id in lane.members:",
        "if lane is not None:",
        f"{_SERVING}.test_callers_that_are_no_member_get_the_current_version",
    ),
    _mutant(
        "P11: the version after an abort follows the current one",
        f"{_QUERIES}/rollout_steps.py",
        "    version = standing.newest.tag.version + 1\n",
        "    version = standing.current.tag.version + 1\n",
        f"{_STORE}.test_abort_publishes_the_document_of_the_base",
    ),
    Mutant(
        "P11: two rollouts of a namespace are open",
        (
            Edit(f"{_QUERIES}/rollout_steps.py", "    if standing.rollout is not None:\n", "    if False:\n"),
            Edit("controller/store/sqlite/schema/0008.sql", "CREATE UNIQUE INDEX one_open", "CREATE INDEX one_open"),
        ),
        (f"{_STORE}.test_one_rollout_of_a_namespace_at_a_time",),
    ),
    _mutant(
        "P12: the clocks go on from step to step",
        _DRIVER,
        "        elif watched is None or (watched.id, watched.step) != (lanes.rollout, lanes.step):\n",
        "        elif watched is not None and watched.id == lanes.rollout:\n"
        "            watched.step, watched.fresh = lanes.step, False\n"
        "        elif watched is None or (watched.id, watched.step) != (lanes.rollout, lanes.step):\n",
        f"{_TESTS}.test_service.VerbTests.test_pause_keeps_members_and_resume_goes_on",
    ),
    _mutant(
        "P12: the bake goes on over a restart",
        _DECIDE,
        "    if clocks.runs_before is None:\n        return 0\n",
        "    if clocks.runs_before is None:\n        return counts.applied\n",
        f"{_CLOCKS}.test_restart_keeps_the_lanes_and_delays_the_gate",
    ),
    _mutant(
        "P13: each tag is delivered",
        _SYNC,
        "        if not self._retags or target is self.applied",
        "        if True or not self._retags or target is self.applied",
        "tests.agent.test_worker_sync",
    ),
    _mutant(
        "P13: a tag is taken without a look at the worker",
        _SYNC,
        "            return await self._worker.checksum() == target.document.checksum\n",
        "            return True\n",
        "tests.agent.test_worker_sync",
    ),
    _mutant(
        "P14: answers are cached by namespace only",
        _SERVICE,
        "        found = self._snapshot.select(namespace, agent_id)\n",
        '        found = self._snapshot.select(namespace, "")\n',
        f"{_TESTS}.test_cache",
    ),
    _mutant(
        "P15: each poll names its lane",
        "controller/api/configs.py",
        'headers["X-Confd-Lane"]',
        'headers["X-Confd-Lanes"]',
        f"{_SERVING}.test_members_get_a_lane_header",
    ),
    _mutant(
        "P16: a transition leaves no audit entry",
        f"{_QUERIES}/rollout_steps.py",
        "    audited = [AuditOutcome(step.attempt, detail=detail)]\n",
        "    audited: list[AuditOutcome] = []\n",
        f"{_STORE}.test_abort_publishes_the_document_of_the_base",
    ),
    _mutant(
        "P17: the history is pruned by the newest version",
        f"{_QUERIES}/pruning.py",
        "SELECT min(base - 1, (SELECT max(version) FROM revisions WHERE namespace = name) - ?)",
        "SELECT max(base - 1, (SELECT max(version) FROM revisions WHERE namespace = name) - ?)",
        f"{_STORE}.test_base_and_candidate_are_never_pruned",
    ),
    _mutant(
        "P18: ranks come from hash()",
        _RANKS,
        '    return int.from_bytes(digest[:8], "big")\n',
        "    return hash(digest[:8]) % 2**64\n",
        f"{_TESTS}.test_picking.RankTests",
    ),
    _mutant("P18: ranks have no salt", _RANKS, "\\n{salt}\\n", "\\n\\n", f"{_TESTS}.test_picking.RankTests"),
    _mutant(
        "P19: an attempt of an older step counts",
        _STEPS,
        "        if rollout.step != seen.step:\n            return None\n",
        "",
        f"{_RACES}.test_two_gates_of_one_step",
    ),
    _mutant(
        "P20: silence is believed after a start",
        _HEARING,
        "        self._since = self._looked_at + RETURN_SECONDS\n",
        "        self._since = self._looked_at\n",
        f"{_HEARD}.test_start",
    ),
    _mutant(
        "P20: silence is believed after a pause",
        _HEARING,
        "        if passed > MAX_GAP_SECONDS:\n            self._since = now + RETURN_SECONDS\n        elif",
        "        if",
        f"{_HEARD}.test_process_that_stood_still",
    ),
    _mutant(
        "P20: silence is believed after a stall",
        _HEARING,
        "passed > LATE_GAP_SECONDS or ",
        "",
        f"{_HEARD}.test_process_that_stood_still",
    ),
    _mutant(
        "P20: silence is believed after a clock step",
        _HEARING,
        "step > MAX_CLOCK_STEP_SECONDS or ",
        "",
        f"{_HEARD}.test_step_of_the_wall_clock",
    ),
    _mutant(
        "P20: silence is believed after an outage of the store",
        _HEARING,
        "self._store.problem() or ",
        "",
        f"{_HEARD}.test_outage_of_the_store",
    ),
    _mutant(
        "P20: silence is believed after the death of another controller",
        _HEARING,
        " or self._lost_controller()",
        "",
        f"{_HEARD}.test_death_of_another_controller",
    ),
    _mutant(
        "P20: an agent whose silence is doubtful stays applied",
        _DECIDE,
        "    if heard and member.state",
        "    if member.state",
        f"{_TESTS}.test_decide.OutcomeTests.test_first_condition_decides",
    ),
    _mutant(
        "P21: unfit members count as failures",
        _DECIDE,
        "failures += member.fit and name in",
        "failures += name in",
        f"{_TESTS}.test_decide.OutcomeTests.test_counts_add_up",
        f"{_TESTS}.test_recovery.TableTests",
    ),
    _mutant(
        "P22: only reports open a gate",
        _DRIVER,
        "return max(0.0, wait) if self._news else ROUND_INTERVAL_SECONDS",
        "return max(0.0, wait) if self._news else 1e6",
        f"{_TESTS}.test_checks.CheckTests.test_gate_waits_for_the_check_of_each_step",
        f"{_CLOCKS}.test_slow_member_stalls",
    ),
    _mutant(
        "a missing check opens the gate",
        _DECIDE,
        ">= required(rollout, counts) and passed and",
        ">= required(rollout, counts) and",
        f"{_DECIDING}.test_gate_waits_for_each_check",
    ),
    _mutant(
        "a verdict counts in later steps",
        f"{_QUERIES}/rollouts.py",
        "verdicts WHERE rollout = ? AND step = ?",
        "verdicts WHERE rollout = ? AND step <= ?",
        f"{_STORE}.test_verdict_is_kept_for_its_step",
    ),
    _mutant(
        "a wave in parallel exposes members while it is full",
        _DECIDE,
        "counts.pending < wave.parallel and",
        "counts.pending <= wave.parallel and",
        f"{_DECIDING}.test_parallel",
    ),
    _mutant(
        "a wave passes before it is exposed",
        _DECIDE,
        " and passed and not rollout.to_expose:",
        " and passed:",
        f"{_DECIDING}.test_wave_that_has_agents_to_expose_does_not_pass_but_stalls",
    ),
    Mutant(
        "an agent gets the outcomes of the agent that had its number before",
        (Edit("controller/agents/members.py", "            column.clear(number)\n", "            pass\n"),),
        ("tests.controller.convergence.test_tracker.ConvergenceTests.test_against_a_model",),
    ),
    Mutant(
        "times of agents that left stay in the histograms",
        (
            Edit(
                "controller/convergence/version.py",
                "        self.times.removes(number)\n        self.outcomes.clear",
                "        self.outcomes.clear",
            ),
        ),
        ("tests.controller.convergence.test_summary.AppliedTimesTests",),
    ),
    Mutant(
        "a silent agent that applied the version counts as silent",
        (
            Edit(
                "controller/convergence/columns.py",
                "if outcome is not None and outcome.final:",
                "if liveness == LIVE_BYTE and outcome is not None and outcome.final:",
            ),
        ),
        ("tests.controller.convergence.test_summary.SummaryTests",),
    ),
)
