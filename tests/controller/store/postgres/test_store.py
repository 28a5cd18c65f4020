"""The store in PostgreSQL as the controller sees it: its contract, over a real server."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from confd.model import Draft
from confd.testing import (
    make_iagentstore_tests,
    make_iauditstore_tests,
    make_ichangerequeststore_tests,
    make_ichangestore_tests,
    make_iconfigstore_tests,
    make_ifreezestore_tests,
    make_ipolicystore_tests,
    make_ireportstore_tests,
    make_irolloutstore_tests,
    make_itokenstore_tests,
    make_iwebhookstore_tests,
)
from tests.controller.store.postgres.fixtures import new_url, started


def postgres_store(test: TestCase, first: Draft, keep: int = 0) -> Any:
    return started(test, new_url(test), first=first, keep=keep)


class PostgresConfigStoreTests(make_iconfigstore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_iconfigstore_tests}."""


class PostgresChangeStoreTests(make_ichangestore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_ichangestore_tests}."""


class PostgresAgentStoreTests(make_iagentstore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_iagentstore_tests}."""


class PostgresAuditStoreTests(make_iauditstore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_iauditstore_tests}."""


class PostgresReportStoreTests(make_ireportstore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_ireportstore_tests}."""


class PostgresRolloutStoreTests(make_irolloutstore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_irolloutstore_tests}."""


class PostgresChangeRequestStoreTests(make_ichangerequeststore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_ichangerequeststore_tests}."""


class PostgresFreezeStoreTests(make_ifreezestore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_ifreezestore_tests}."""


class PostgresPolicyStoreTests(make_ipolicystore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_ipolicystore_tests}."""


class PostgresWebhookStoreTests(make_iwebhookstore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_iwebhookstore_tests}."""


class PostgresTokenStoreTests(make_itokenstore_tests(postgres_store)):  # type: ignore[misc]
    """See L{make_itokenstore_tests}."""
