"""The builds whose backups, webhooks and imports are broken on purpose."""

from __future__ import annotations

from tests.faults.mutations import Edit, Mutant

_REQUEST, _QUEUE = "controller/webhooks/request.py", "controller/webhooks/queue.py"
_REQUESTS = "tests.controller.webhooks.test_request.RequestTests"
_DELIVERIES = "tests.controller.webhooks.test_queue.DeliveryTests"
_STORE = "tests.controller.store.sqlite.test_store.SqliteWebhookStoreTests"
_ARCHIVES = "tests.cli.test_dumps.ArchiveTests"

OPERATIONS_MUTANTS = (
    Mutant(
        "an event is signed without its body",
        (Edit(_REQUEST, "secret.encode(), body, hashlib", 'secret.encode(), b"", hashlib'),),
        ("tests.controller.webhooks.test_request.SignatureTests.test_vector",),
    ),
    Mutant(
        "a redirect of a webhook counts as success",
        (Edit(_REQUEST, "if not 200 <= response.code < 300:", "if not 200 <= response.code < 400:"),),
        (f"{_REQUESTS}.test_redirect_is_not_followed",),
    ),
    Mutant(
        "a webhook reaches the metadata service of a cloud",
        (Edit("client/checked_endpoints.py", "self._policy.check(host, [ip", "_ = (host, [ip"),),
        (f"{_REQUESTS}.test_metadata_of_a_cloud_is_never_reached",),
    ),
    Mutant(
        "an event that a receiver refused is deleted",
        (
            Edit(
                _QUEUE,
                'self.results["failed"] += 1\n',
                'self.results["failed"] += 1\n            self._done = number\n',
            ),
        ),
        (f"{_DELIVERIES}.test_failed_event_is_sent_again_before_the_others",),
    ),
    Mutant(
        "a new event hurries a receiver that failed",
        (
            Edit(
                "runtime/list_delivery.py",
                "        if self._wait is None:\n            self._loop.hurry()",
                "        self._loop.hurry()",
            ),
        ),
        (f"{_DELIVERIES}.test_new_events_do_not_hurry_a_receiver_that_failed",),
    ),
    Mutant(
        "the events of a change are not in its transaction",
        (Edit("controller/store/database.py", "work = self._events.along(", "self._events.along("),),
        (f"{_STORE}.test_events_of_changes_are_queued_with_the_change_for_each_receiver",),
    ),
    Mutant(
        "a backup that was cut off counts as one",
        (Edit("controller/api/backup.py", "if isinstance(result, Failure):", "if result is attempt:"),),
        ("tests.controller.api.test_backup.BackupTests.test_a_slow_reader_is_cut_off",),
    ),
    Mutant(
        "the members of an archive are bounded one by one",
        (Edit("cli/archives.py", "left -= len(content)", "left -= max(len(content) - limit, 0)"),),
        (f"{_ARCHIVES}.test_bomb_is_not_unpacked",),
    ),
)
