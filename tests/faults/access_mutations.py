"""The builds whose checks of access are broken on purpose."""

from __future__ import annotations

from tests.faults.mutations import Edit, Mutant

_DISPATCH, _ADMISSION, _PRINCIPALS = "web/api/dispatch.py", "web/api/admission.py", "web/auth/principals.py"
_TOKENS, _ADMITTED = "controller/access/api_tokens.py", "tests.web.api.test_admission.AdmissionTests"
_CONFIGS, _STEPS = "controller/store/queries/configs.py", "controller/store/queries/rollout_steps.py"
_MATRIX = "tests.controller.access.test_matrix.MatrixTests"
_LIFE, _CALLERS = "tests.controller.access.test_tokens.LifeTests", "tests.controller.access.test_tokens.CallerTests"
_ELSEWHERE = "tests.controller.access.test_several_controllers.ElsewhereTests"
_POLICIES = "tests.controller.store.sqlite.test_store.SqlitePolicyStoreTests"
_WRITES = "tests.controller.access.test_write_paths.WritePathTests"
_PROPOSING = "tests.controller.access.test_proposing.ProposingTests"
_AGENTS, _REPLACED = "controller/agents/registry.py", "tests.controller.agents.test_tokens.ReplacementTests"
_LOADING = "tests.controller.agents.test_loading.WhileLoadingTests"
_COOKIES, _SESSIONS = "web/auth/sessions.py", "tests.controller.access.test_sessions"
_STORE = "tests.controller.store.sqlite.test_store.SqliteFreezeStoreTests"

ACCESS_MUTANTS = (
    Mutant(
        "the namespace of a permission is default where the query names another",
        (Edit(_ADMISSION, "return self.named(query.namespace)", "return self.named(DEFAULT_NAMESPACE)"),),
        (f"{_MATRIX}.test_each_role_may_do_what_the_table_says_and_nothing_else",),
    ),
    Mutant(
        "the permission in the namespace of a body is not checked",
        (
            Edit(
                _DISPATCH,
                "allow(admission.principal, declared.permissions, place)\n            if auditor",
                "_ = allow\n            if auditor",
            ),
        ),
        (f"{_MATRIX}.test_each_role_may_do_what_the_table_says_and_nothing_else",),
    ),
    Mutant(
        "a kept admission outlives its caller",
        (Edit(_ADMISSION, " or not kept.recognizes(source_of(client))", ""),),
        (
            f"{_ADMITTED}.test_an_admission_ends_with_its_password",
            f"{_ADMITTED}.test_a_kept_admission_changes_no_answer",
        ),
    ),
    Mutant(
        "a kept admission needs no loaded memory",
        (Edit(_DISPATCH, "                self._gate.check_loaded(declared)\n", "                pass\n"),),
        (f"{_ADMITTED}.test_memory_that_is_not_loaded_refuses_a_kept_admission",),
    ),
    Mutant(
        "a client at an address is admitted like one at a unix socket",
        (Edit(_ADMISSION, 'kept.addressed != hasattr(client, "host") or ', ""),),
        (f"{_ADMITTED}.test_an_admission_at_a_unix_socket_is_none_at_an_address",),
    ),
    Mutant(
        "a namespace without any permission is forbidden, not hidden",
        (Edit(_PRINCIPALS, "if not held and place.unknown is not None:", "if place is None:"),),
        (f"{_MATRIX}.test_each_role_may_do_what_the_table_says_and_nothing_else",),
    ),
    Mutant(
        "an approver promotes every paused rollout",
        (
            Edit(
                "controller/rollouts/transitions.py",
                '(rollout.state, rollout.reason) != ("paused", "held")',
                'rollout.state != "paused"',
            ),
        ),
        (
            "tests.controller.access.test_freezes.FrozenRolloutTests"
            ".test_approver_promotes_a_held_rollout_to_the_next_wave_only",
        ),
    ),
    Mutant(
        "the list of namespaces is not filtered",
        (
            Edit(
                "controller/api/namespaces.py",
                "if call.principal.may(Permission.CONFIG_READ, each)",
                "if call.principal",
            ),
        ),
        (f"{_MATRIX}.test_list_of_namespaces_shows_granted_ones",),
    ),
    Mutant(
        "the audit log is not filtered",
        (Edit("controller/api/audit.py", "principal.may(Permission.ADMIN, CLUSTER)", "principal"),),
        (f"{_CALLERS}.test_audit_shows_granted_namespaces",),
    ),
    Mutant(
        "a pattern matches names that only begin alike",
        (Edit("access/patterns.py", "else pattern == namespace", "else namespace.startswith(pattern)"),),
        ("tests.web.auth.test_principals.PatternTests",),
    ),
    Mutant(
        "the token of an agent is valid in every namespace",
        (Edit("web/auth/basic.py", "(Grant(Role.AGENT, (namespace,)),)", "(Grant(Role.AGENT),)"),),
        ("tests.controller.access.test_agents.OwnTokenTests",),
    ),
    Mutant(
        "the shared password replaces a token that is in use",
        (Edit("controller/agents/tokens.py", "max(used, self._loaded_at) >= since", "not since"),),
        (f"{_REPLACED}.test_token_in_use_stays_until_it_is_silent",),
    ),
    Mutant(
        "a poll with the shared password keeps a token",
        (Edit(_AGENTS, "self._clock.seconds() if by_token else None", "self._clock.seconds()"),),
        (f"{_REPLACED}.test_life_without_the_token_does_not_keep_it",),
    ),
    Mutant(
        "a token that no controller saw in use is kept",
        (Edit("controller/agents/rows.py", "record.token and not silent:", "record.token:"),),
        (f"{_REPLACED}.test_after_a_restart_a_token_counts_as_used_if_its_agent_was_heard_of",),
    ),
    Mutant(
        "the use of an old token keeps the new one",
        (
            Edit(
                "controller/agents/rows.py",
                "before is not None and before.token == record.token",
                "before is not None",
            ),
        ),
        (f"{_REPLACED}.test_reset_lets_the_next_registration_have_a_token",),
    ),
    Mutant(
        "repeated polls do not count as the use of a token",
        (
            Edit(
                "controller/api/configs.py",
                "self._registry.polled(agent_id, by_token))",
                "self._registry.polled(agent_id))",
            ),
        ),
        (f"{_REPLACED}.test_answer_from_the_cache_is_a_use",),
    ),
    Mutant(
        "a token that other controllers see in use is replaced",
        (Edit(_AGENTS, "agent_id in heard.by_token)", "False)"),),
        (f"{_REPLACED}.test_use_that_another_controller_heard_keeps_a_token",),
    ),
    Mutant(
        "a controller that starts keeps a token that was taken back",
        (Edit("controller/agents/lookups.py", "            self._rows.pop(change.subject, None)\n", ""),),
        (f"{_LOADING}.test_tokens_end_at_once",),
    ),
    Mutant(
        "a controller that starts serves members the current version",
        (
            Edit(
                "controller/rollouts/service.py",
                "            record = await self._registry.look_up(agent_id)\n"
                "            home = None if record is None else record.namespace\n",
                "",
            ),
        ),
        (f"{_LOADING}.test_members_are_served_the_candidate",),
    ),
    Mutant(
        "a controller that starts takes reports of agents that it does not know",
        (Edit(_ADMISSION, "            self._check_loaded()\n", "            pass\n"),),
        (f"{_LOADING}.test_everything_else_waits",),
    ),
    Mutant(
        "a controller that starts loses the changes of agents meanwhile",
        (Edit("controller/agents/loading.py", "            self._changes.append(change)\n", "            pass\n"),),
        ("tests.controller.agents.test_rows.RegistryMachineTests", f"{_LOADING}.test_tokens_end_at_once"),
    ),
    Mutant(
        "a shorter interval makes no agent silent earlier",
        (Edit("controller/agents/liveness.py", "and interval != self._due[change.subject][1]:", "and False:"),),
        ("tests.controller.agents.test_liveness.LivenessTests.test_shorter_interval_is_seen_at_once",),
    ),
    Mutant(
        "a reset leaves the token on disk",
        (Edit("controller/store/queries/agents.py", "SET token = NULL", "SET token = token"),),
        ("tests.controller.store.sqlite.test_store.SqliteAgentStoreTests.test_reset_removes_a_token",),
    ),
    Mutant(
        "the streams of an agent outlive its token",
        (
            Edit(
                "controller/streams/config_stream.py",
                'change.value.what != "unblocked"',
                'change.value.what == "blocked"',
            ),
        ),
        (f"{_REPLACED}.test_reset_ends_the_stream",),
    ),
    Mutant(
        "a narrowed identity takes an agent out of another namespace",
        (
            Edit(
                "controller/api/agents.py",
                "if there is not None and not call.principal.may(Permission.AGENT_SERVE, there.namespace):",
                "if there is not None and not call.principal:",
            ),
        ),
        (f"{_REPLACED}.test_narrowed_identity_takes_no_agent_of_another_namespace",),
    ),
    Mutant(
        "a proposal needs the permission to publish",
        (
            Edit(
                "web/api/endpoint.py",
                "return (Permission.CHANGE_PROPOSE,) if proposes else self.permissions",
                "return self.permissions",
            ),
        ),
        (f"{_PROPOSING}.test_permission_is_that_of_a_proposal",),
    ),
    Mutant(
        "the permission to propose is enough to publish",
        (
            Edit(
                "web/api/endpoint.py",
                "return (Permission.CHANGE_PROPOSE,) if proposes else self.permissions",
                "return (Permission.CHANGE_PROPOSE, *self.permissions)",
            ),
        ),
        (f"{_PROPOSING}.test_permission_is_that_of_a_proposal",),
    ),
    Mutant(
        "a call that proposes publishes",
        (Edit("controller/api/configs.py", "        if query.propose:\n", "        if not query:\n"),),
        (f"{_PROPOSING}.test_call_proposes_the_change_that_it_would_make",),
    ),
    Mutant(
        "a proposal ignores the tag that its caller read",
        (Edit("controller/access/change_rules.py", "        check_expected(proposal.expected, situation.tag)\n", ""),),
        (f"{_PROPOSING}.test_conditions_hold_for_a_proposal",),
    ),
    Mutant(
        "a session never ends",
        (Edit(_COOKIES, "if self._now() >= ends:", "if False:"),),
        (f"{_SESSIONS}.EndTests.test_session_ends_after_its_time",),
    ),
    Mutant(
        "a session outlives its password",
        (
            Edit(
                _COOKIES, 'hmac.digest(hashlib.sha256(b"confd-session-v1\\n" + key).digest(), digest, "sha256")', "key"
            ),
        ),
        (f"{_SESSIONS}.EndTests.test_new_password_ends_the_sessions_of_its_identity",),
    ),
    Mutant(
        "a page that hides its origin changes things with the cookie of a session",
        (Edit(_COOKIES, "            _check_page(request)\n", "            pass\n"),),
        (f"{_SESSIONS}.CookieTests.test_change_needs_a_page_of_this_site",),
    ),
    Mutant(
        "a session ends, and its streams go on",
        (Edit("web/api/streaming.py", "clock.callLater(max(0.0, seconds),", "clock.callLater(86400.0,"),),
        (f"{_SESSIONS}.EndTests.test_stream_ends_with_its_session",),
    ),
    Mutant(
        "the secret of another token is accepted",
        (Edit(_TOKENS, "if proves(token.digest):", "if token.digest != token.previous_digest:"),),
        (f"{_MATRIX}.test_invalid_token_gets_401_everywhere",),
    ),
    Mutant(
        "the old secret of a rotated token stays valid for ever",
        (Edit(_TOKENS, "until is not None and now < until and", "until is not None and"),),
        (f"{_LIFE}.test_rotated_token_keeps_its_old_secret_for_the_overlap",),
    ),
    Mutant(
        "repeated polls ignore that a token was changed",
        (
            Edit(
                _TOKENS,
                "or self._live is not all_live or all_live.get(token_id) is not live:",
                "or self._live is not all_live:",
            ),
        ),
        (f"{_LIFE}.test_repeated_poll_notices_that_its_token_was_revoked",),
    ),
    Mutant(
        "repeated polls ignore that a token has expired",
        (Edit(_TOKENS, "if (until is not None and self._now() >= until) or not", "if not"),),
        (f"{_LIFE}.test_repeated_poll_notices_that_its_token_has_expired",),
    ),
    Mutant(
        "a token of another controller is refused without a look at the store",
        (
            Edit(
                _TOKENS,
                "if self.feed is None or self._live is None or token_id in self._live:",
                "if token_id:",
            ),
        ),
        (f"{_ELSEWHERE}.test_token_of_another_controller_is_looked_up_before_it_is_refused",),
    ),
    Mutant(
        "a controller without its store accepts tokens for ever",
        (Edit(_TOKENS, "            self.feed.check_fresh()\n", "            pass\n"),),
        (f"{_ELSEWHERE}.test_known_token_is_refused_once_the_controller_is_stale",),
    ),
    Mutant(
        "repeated polls ignore that the controller lost its store",
        (Edit(_TOKENS, "if self._stale or self._live is not all_live", "if self._live is not all_live"),),
        (f"{_ELSEWHERE}.test_repeated_poll_notices_that_the_controller_is_stale",),
    ),
    Mutant(
        "the streams of a revoked token go on",
        (Edit(_TOKENS, "            self.ended.notify(before.who)\n", "            pass\n"),),
        (f"{_CALLERS}.test_stream_ends_when_its_token_ends",),
    ),
    Mutant(
        "the hash of an audit entry leaves out the namespace and the subject",
        (Edit("audit.py", 'if not (hashed["namespace"] or hashed["subject"]):', "if hashed:"),),
        ("tests.test_audit.DigestTests",),
    ),
    Mutant(
        "a freeze is checked for rollbacks that undo",
        (
            Edit(
                _CONFIGS,
                "free = not waves and restrictions.policy.rollback_free and _undoes(cursor, draft, there.current)",
                "free = not _undoes",
            ),
        ),
        (f"{_STORE}.test_undo_passes_and_no_other_rollback",),
    ),
    Mutant(
        "every rollback counts as an undo",
        (Edit(_CONFIGS, "return bool(draft.rollback_of == before)", "return True"),),
        (f"{_STORE}.test_undo_passes_and_no_other_rollback",),
    ),
    Mutant(
        "a freeze forgets the creation of namespaces",
        (
            Edit(
                _CONFIGS,
                "    restrictions.check_freezes()\n    change = change_requests.admit(cursor, draft, None",
                "    change = change_requests.admit(cursor, draft, None",
            ),
        ),
        (f"{_STORE}.test_publish_and_creation_are_refused_while_a_freeze_is_active",),
    ),
    Mutant(
        "a freeze forgets replacements and waves",
        (Edit(_STEPS, "    if step.delivers or draft is not None:\n", "    if not policies:\n"),),
        (f"{_STORE}.test_start_and_steps_that_deliver_are_refused_and_an_abort_is_not",),
    ),
    Mutant(
        "a freeze refuses an abort",
        (Edit(_STEPS, "    if step.delivers or draft is not None:\n", "    if step:\n"),),
        (f"{_STORE}.test_start_and_steps_that_deliver_are_refused_and_an_abort_is_not",),
    ),
    Mutant(
        "an undo passes freezes although the policy forbids it",
        (Edit(_CONFIGS, "restrictions.policy.rollback_free and _undoes", "_undoes"),),
        (f"{_POLICIES}.test_undo_that_is_not_free_is_a_change_like_others",),
    ),
    Mutant(
        "an exempt namespace is frozen",
        (Edit("access/policies.py", "if not self.policy.freeze_exempt:", "if self.policy:"),),
        (f"{_POLICIES}.test_exempt_namespace_ignores_freezes",),
    ),
    Mutant(
        "a plan of a policy is forgotten by publish and start",
        (Edit(_CONFIGS, "    restrictions.check_plan(waves)\n", ""),),
        (f"{_POLICIES}.test_plan_forbids_what_goes_to_all_agents_but_a_free_undo",),
    ),
    Mutant(
        "a rollout without a wave before the last satisfies a plan",
        (Edit(_STEPS, "len(start.plan.waves)", "1"),),
        (f"{_POLICIES}.test_plan_forbids_what_goes_to_all_agents_but_a_free_undo",),
    ),
    Mutant(
        "the retry of a publish that became a rollout is answered as a publish to all agents",
        (Edit(_CONFIGS, "        _check_answer(cursor, draft, made)\n", ""),),
        (f"{_POLICIES}.test_retry_of_a_publish_that_became_a_rollout_is_sent_there",),
    ),
    Mutant(
        "a caller who asked for no rollout gets one",
        (
            Edit(
                "controller/api/configs.py",
                "        if query.rollout is not None:\n            raise",
                "        if not query:\n            raise",
            ),
        ),
        (f"{_WRITES}.test_each_path_is_held_by_what_the_table_says_and_break_glass_passes",),
    ),
    Mutant(
        "anyone who publishes may break the glass",
        (
            Edit(
                _ADMISSION,
                "                allow(principal, (Permission.ADMIN,), NOWHERE)\n",
                "                pass\n",
            ),
        ),
        (f"{_WRITES}.test_each_path_is_held_by_what_the_table_says_and_break_glass_passes",),
    ),
    Mutant(
        "the audit does not tell break-glass from other calls",
        (Edit("audit.py", "        if attempt.break_glass:\n", "        if not attempt:\n"),),
        ("tests.controller.access.test_break_glass.BreakGlassTests",),
    ),
    Mutant(
        "break-glass leaves no record",
        (Edit("controller/store/queries/break_glass.py", "not attempt.break_glass:", "attempt:"),),
        (f"{_POLICIES}.test_break_glass_passes_and_leaves_a_record",),
    ),
    Mutant(
        "a review counts as the origin of a version",
        (Edit("controller/store/queries/change_requests.py", " AND kind <> 'review'\n", "\n"),),
        (f"{_POLICIES}.test_break_glass_passes_and_leaves_a_record",),
    ),
    Mutant(
        "break-glass forgets waves",
        (Edit(_STEPS, "reason = step.attempt.break_glass", 'reason = ""'),),
        (f"{_POLICIES}.test_break_glass_passes_and_leaves_a_record",),
    ),
    Mutant(
        "the plan of a policy can be removed",
        (Edit("access/policies.py", "if users and (", "if not users and ("),),
        (f"{_POLICIES}.test_plan_of_a_policy_stays",),
    ),
    Mutant(
        "the days of a weekly freeze are those of UTC",
        (Edit("access/freezes.py", "today = around.astimezone(zone).date()", "today, zone = around.date(), UTC"),),
        ("tests.access.test_freezes.WeeklyTests",),
    ),
    Mutant(
        "patience runs while a rollout is frozen",
        (Edit("controller/rollouts/driver.py", "            watched.start_over(now)\n", "            pass\n"),),
        ("tests.controller.access.test_freezes.FrozenRolloutTests",),
    ),
)
