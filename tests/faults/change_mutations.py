"""The builds whose checks of changes, approvals and times are broken on purpose."""

from __future__ import annotations

from tests.faults.mutations import Edit, Mutant

_RULES, _APPROVALS = "controller/access/change_rules.py", "controller/access/approvals.py"
_CONFIGS, _STEPS = "controller/store/queries/configs.py", "controller/store/queries/rollout_steps.py"
_ROWS, _VALUES = "controller/store/queries/change_requests.py", "access/change_requests.py"
_STORE = "tests.controller.store.sqlite.test_store.SqliteChangeRequestStoreTests"
_CASES = "tests.controller.access.test_changes"
_SCHEDULE = "tests.controller.access.test_schedule.ScheduleTests"

CHANGE_MUTANTS = (
    Mutant(
        "a publish or the start of a rollout needs no approval",
        (Edit(_CONFIGS, "current, restrictions, free)", "current, restrictions, True)"),),
        (f"{_STORE}.test_policy_refuses_every_path_without_a_change",),
    ),
    Mutant(
        "the creation of a namespace needs no approval",
        (Edit(_CONFIGS, "admit(cursor, draft, None, restrictions)", "admit(cursor, draft, None, restrictions, True)"),),
        (f"{_STORE}.test_policy_refuses_every_path_without_a_change",),
    ),
    Mutant(
        "a replacement needs no approval",
        (
            Edit(
                _STEPS,
                "admit(cursor, draft, current, restrictions)",
                "admit(cursor, draft, current, restrictions, True)",
            ),
        ),
        (f"{_STORE}.test_policy_refuses_every_path_without_a_change",),
    ),
    Mutant(
        "an undo needs an approval",
        (Edit(_ROWS, "if not free:", "if cursor:"),),
        (f"{_STORE}.test_undo_needs_no_approval_unless_the_policy_asks_for_one",),
    ),
    Mutant(
        "an applied change stays as it was",
        (Edit(_CONFIGS, "    changes += change_requests.settle(cursor, change, made)\n", ""),),
        (f"{_STORE}.test_publish_applies_its_change_in_the_same_transaction",),
    ),
    Mutant(
        "a publish leaves the changes on its base as they are",
        (
            Edit(
                _CONFIGS,
                "    changes += change_requests.mark_stale(cursor, draft.namespace, draft.document.checksum)\n",
                "",
            ),
        ),
        (f"{_STORE}.test_publish_makes_other_changes_stale",),
    ),
    Mutant(
        "the end of a rollout leaves the changes on its base as they are",
        (Edit(_STEPS, "    changes += _mark_stale(cursor, rollout.namespace)\n", ""),),
        (f"{_STORE}.test_start_of_a_rollout_applies_its_change",),
    ),
    Mutant(
        "a change is applied on another base",
        (
            Edit(_VALUES, "return self.checksum != change.base_checksum", "return False"),
            Edit(_ROWS, "IS NOT TRUE\n", "IS NULL\n"),
        ),
        (f"{_CASES}.ApprovalTests.test_change_on_another_base_is_stale",),
    ),
    Mutant(
        "a change is compared by the tag of its base",
        (Edit(_VALUES, "return self.checksum != change.base_checksum", "return str(self.tag) != change.base"),),
        (f"{_CASES}.ApprovalTests.test_new_epoch_moves_no_base",),
    ),
    Mutant(
        "callers are told apart by the ids of their tokens",
        (
            Edit(
                _VALUES,
                "return self.name == other.name or self.subject == other.subject",
                "return self.token_id == other.token_id",
            ),
        ),
        (f"{_CASES}.ApprovalTests.test_nobody_approves_an_own_change",),
    ),
    Mutant(
        "callers are told apart by their subjects only",
        (
            Edit(
                _VALUES,
                "return self.name == other.name or self.subject == other.subject",
                "return self.subject == other.subject",
            ),
        ),
        (f"{_CASES}.ApprovalTests.test_token_of_the_name_of_the_author_approves_nothing",),
    ),
    Mutant(
        "the checksum of a change leaves out the plan and the poll interval",
        (Edit(_VALUES, "plan or None, poll_interval, rollback_of", "None, None, rollback_of"),),
        (f"{_CASES}.LifeTests.test_checksum_covers_all_that_a_change_alters",),
    ),
    Mutant(
        "an approval need not name what was read",
        (Edit(_RULES, "if checksum != change.checksum:", "if not checksum:"),),
        (f"{_CASES}.ApprovalTests.test_approval_names_what_was_read",),
    ),
    Mutant(
        "an edited change keeps its approvals",
        (
            Edit(_RULES, "            approvals=(),\n", ""),
            Edit(_APPROVALS, "each.checksum != change.checksum or own or again", "own or again"),
        ),
        (f"{_CASES}.ApprovalTests.test_edited_change_loses_its_approvals",),
    ),
    Mutant(
        "an approval counts whoever lost the permission to approve",
        (
            Edit(
                _APPROVALS,
                "if holds(each.signer, Permission.CHANGE_APPROVE, change.namespace, situation, now):",
                "if holds:",
            ),
        ),
        (f"{_CASES}.ApprovalTests.test_approval_of_a_revoked_approver_is_void",),
    ),
    Mutant(
        "an expired token keeps its permissions",
        (Edit(_APPROVALS, "now >= token.expires_at", "not now"),),
        (f"{_CASES}.ApprovalTests.test_approval_of_an_expired_approver_is_void",),
    ),
    Mutant(
        "the policy lets an author approve the review of an own break-glass call",
        (Edit(_RULES, '(change.kind == "review" or not situation.self_approval)', "not situation.self_approval"),),
        (f"{_CASES}.ApprovalTests.test_nobody_approves_the_review_of_an_own_call_whatever_the_policy_says",),
    ),
    Mutant(
        "two tokens of one subject count twice",
        (
            Edit(_APPROVALS, "own or again", "own"),
            Edit(_RULES, "if each.signer.subject != signer.subject]", "if each.signer != signer]"),
            Edit(
                "controller/store/sqlite/schema/0018.sql",
                "PRIMARY KEY (change, subject)",
                "PRIMARY KEY (change, subject, signer)",
            ),
        ),
        (f"{_CASES}.ApprovalTests.test_two_tokens_of_one_subject_count_once",),
    ),
    Mutant(
        "the policy at the time of the approval decides",
        (Edit(_RULES, "if len(approvals) < situation.needed:", 'if change.state == "open":'),),
        (f"{_CASES}.ApprovalTests.test_apply_needs_as_many_approvals_as_the_policy_asks_for_now",),
    ),
    Mutant(
        "a change of a revoked author is applied",
        (Edit(_RULES, "        if lost is not None:\n            raise", "        if not seen:\n            raise"),),
        (f"{_CASES}.ApprovalTests.test_change_of_a_revoked_author_is_suspended",),
    ),
    Mutant(
        "the clock applies a change whoever scheduled it",
        (Edit(_APPROVALS, "if scheduled and change.scheduled_by is not None:", "if not change:"),),
        (f"{_SCHEDULE}.test_change_is_suspended_once_who_scheduled_it_lost_the_permission",),
    ),
    Mutant(
        "a change is applied before its time",
        (
            Edit(_RULES, "change.at is None or now < change.at", "change.at is None"),
            Edit("controller/access/change_requests.py", "and each.at <= now", "and now"),
            Edit("controller/access/schedule.py", "change.at is None or now < change.at", "change.at is None"),
        ),
        (f"{_SCHEDULE}.test_change_is_applied_at_its_time",),
    ),
    Mutant(
        "a change is applied at any time after its own",
        (Edit("controller/access/schedule.py", "if now >= change.at + GRACE:", "if not GRACE:"),),
        (f"{_SCHEDULE}.test_clock_that_jumps_an_hour_past_it_misses_it",),
    ),
    Mutant(
        "an edited change keeps its time",
        (
            Edit(
                _RULES, "            at=None,\n            scheduled_by=None,\n            result", "            result"
            ),
        ),
        (f"{_SCHEDULE}.test_edited_change_loses_its_time",),
    ),
    Mutant(
        "a proposer sets the time of a change",
        (
            Edit(
                "controller/api/changes.py",
                "if not call.principal.may(Permission.CONFIG_PUBLISH, namespace):",
                "if not namespace:",
            ),
        ),
        (f"{_SCHEDULE}.test_change_that_is_proposed_with_a_time_waits_for_its_approvals",),
    ),
    Mutant(
        "every proposer withdraws every change",
        (Edit(_RULES, "if not (is_admin or signer.is_same(change.author)):", "if not signer:"),),
        (f"{_CASES}.LifeTests.test_reject_and_withdraw_end_a_change",),
    ),
)
