"""The builds that break what several controllers on a database promise."""

from __future__ import annotations

from tests.faults.mutations import Edit, Mutant

_GROUPS, _STORE = "controller/store/postgres/groups.py", "controller/store/postgres/store.py"
_LOCK = '        cursor.queue("SELECT 1 FROM head FOR UPDATE")\n'
_URL = "controller/store/postgres/url.py"
_TESTS = "tests.controller.store.postgres"
_SHARED = f"{_TESTS}.test_several.PostgresSharedStoreTests"
_MEMORIES = f"{_TESTS}.test_several.MemoryTests"
_SEVERAL = "tests.controller.test_several_controllers"
_ANNOUNCER = "tests.controller.configs.test_announcer.AnnouncerTests"

DATABASE_MUTANTS = (
    Mutant(
        "PostgreSQL: transactions do not lock the head",
        (Edit(_GROUPS, _LOCK, ""),),
        (f"{_MEMORIES}.test_transaction_waits_for_the_one_before_at_the_head",),
    ),
    Mutant(
        "PostgreSQL: works read before the head is locked",
        (
            Edit(_GROUPS, _LOCK, ""),
            Edit(
                _GROUPS,
                "        number, digest = audit.record(cursor,",
                f"{_LOCK}        before = load_state(cursor)\n        number, digest = audit.record(cursor,",
            ),
        ),
        (f"{_MEMORIES}.test_transaction_waits_for_the_one_before_at_the_head",),
    ),
    Mutant(
        "PostgreSQL: changes are numbered by their rows, not by the head",
        (
            Edit(
                "controller/store/postgres/change_rows.py",
                "cursor.execute(_INSERT, (before.seq + 1, after.mark,",
                "cursor.execute(_INSERT, (before.seq + 2, after.mark,",
            ),
        ),
        (f"{_SHARED}.test_both_show_all_changes_in_the_order_of_the_commits",),
    ),
    Mutant(
        "PostgreSQL: an automatic epoch ignores the epoch of another controller",
        (Edit("controller/store/postgres/raising.py", " or there.epoch > known.epoch:", ":"),),
        (f"{_TESTS}.test_life.LifeTests.test_no_automatic_epoch_beyond_another_one",),
    ),
    Mutant(
        "PostgreSQL: the refusal of a write refuses the repair that waits, too",
        (Edit("controller/store/postgres/engine.py", " and not isinstance(error, WentBack)", ""),),
        (f"{_TESTS}.test_life.LifeTests.test_new_epoch_that_waited_for_a_refused_write",),
    ),
    Mutant(
        "PostgreSQL: any server that takes writes will do",
        (
            Edit(
                "controller/store/postgres/url.py", '"target_session_attrs": "primary"', '"target_session_attrs": "any"'
            ),
        ),
        (f"{_TESTS}.test_bootstrap",),
    ),
    Mutant(
        "several controllers: a write is answered before its change is applied",
        (Edit("controller/feed.py", "        await self.reached(committed.seq)\n", ""),),
        ("tests.controller.test_feed.OnePathTests",),
    ),
    Mutant(
        "several controllers: 401 where the store cannot be read",
        (
            Edit(
                "controller/access/composition.py",
                "return feed.refresh() if",
                "return feed.refresh().addErrback(lambda _: None) if",
            ),
        ),
        (f"{_SEVERAL}.NegativeAnswerTests",),
    ),
    Mutant(
        "several controllers: agents lose a controller whose storage fails",
        (
            Edit(
                "controller/composition.py",
                'ReadReadiness({"configurations": snapshot,',
                'ReadReadiness({"store": store, "configurations": snapshot,',
            ),
        ),
        (f"{_SEVERAL}.ReadReadinessTests.test_ready_while_the_storage_fails",),
    ),
    Mutant(
        "several controllers: streams stay although tokens cannot be checked",
        (
            Edit(
                "controller/streams/stream_ends.py", "        if self._feed.problem() is None:\n", "        if True:\n"
            ),
        ),
        (f"{_SEVERAL}.StreamEndTests",),
    ),
    Mutant(
        "several controllers: a poll inserts the row of a forgotten agent",
        (
            Edit(
                "controller/store/postgres/cursor.py",
                "        UPDATE agents SET last_poll = polled.value FROM json_each_text(?::json) AS polled\n"
                "        WHERE agents.id = polled.key AND (last_poll IS NULL OR last_poll < polled.value)",
                "        INSERT INTO agents (id, namespace, hostname, metadata, strategy, registered_at, last_poll)\n"
                "        SELECT key, 'default', '', '{{}}', '', value, value FROM json_each_text(?::json)\n"
                "        ON CONFLICT (id) DO UPDATE SET last_poll = excluded.last_poll",
            ),
        ),
        (f"{_SHARED}.test_forgotten_agent_stays_forgotten",),
    ),
    Mutant(
        "announcements: two controllers claim one",
        (
            Edit(
                "controller/store/postgres/announcements.py",
                "    AND (claimed_at IS NULL OR claimed_at < clock_timestamp() - {CLAIMED_SECONDS} * interval '1 s')\n",
                "",
            ),
        ),
        (f"{_SHARED}.test_announcement_is_made_by_its_controller_or_claimed_once",),
    ),
    Mutant(
        "announcements: each controller announces all changes",
        (Edit("controller/configs/announcer.py", "return self._store.is_own(seq)", "return True"),),
        (f"{_ANNOUNCER}.test_controller_of_a_change_announces_it_alone",),
    ),
    Mutant(
        "announcements: nobody announces for a controller that was killed",
        (Edit("controller/configs/announcer.py", "if not self.applied or not reached:", "if True:"),),
        (f"{_ANNOUNCER}.test_another_controller_announces_what_a_killed_one_did_not",),
    ),
    Mutant(
        "announcements: Redis keeps what comes last",
        (
            Edit(
                "brokers/redis/ordered.py",
                "  if epochs > 0 or epochs == 0 and versions > 0 then return 0 end\n",
                "",
            ),
            Edit("brokers/redis/ordered.py", "there[0] == order[0] and there[1:] > order[1:]", "False"),
        ),
        ("tests.brokers.redis.test_ordered",),
    ),
)
