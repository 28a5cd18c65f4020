"""Controllers behind a real pgbouncer."""

from __future__ import annotations

import itertools

from twisted.internet.defer import gatherResults
from twisted.trial.unittest import SkipTest

from confd.controller.store.postgres.store import PostgresStore
from confd.errors import Unavailable
from confd.model import DEFAULT_NAMESPACE, Registration
from confd.testing import a_draft, an_attempt
from tests.controller.store.fixtures import until
from tests.controller.store.postgres.pooler import Pooler, set_limits, why_missing
from tests.controller.store.postgres.server import shared_server
from tests.controller.store.postgres.test_server import ServerTestCase

_numbers = itertools.count(1)


class PoolerTests(ServerTestCase):
    """What works behind a pooler, and what is said where it does not."""

    def setUp(self) -> None:
        self.server = shared_server()
        reason = why_missing()
        if reason is not None:
            raise SkipTest(reason)
        self.database, self.user = self.server.new_database(), f"pooled_{next(_numbers)}"
        self.change(f"CREATE ROLE {self.user} LOGIN", f"ALTER DATABASE {self.database} OWNER TO {self.user}")

    def change(self, *statements: str) -> None:
        """Run statements as the owner of the server."""
        with self.server.connect("postgres") as connection:
            for each in statements:
                connection.execute(each)  # type: ignore[call-overload]

    def pooler(self, **settings: str) -> Pooler:
        """Return a pooler that runs until the test is over."""
        pooler = Pooler(self.server, self.user, settings)
        self.addCleanup(pooler.remove)
        pooler.start()
        return pooler

    async def use(self, store: PostgresStore, count: int) -> None:
        """Write and read so often that statements would be prepared, on several connections of the pooler."""
        for round_ in range(count):
            made = await gatherResults([store.publish(a_draft(n, attempt=an_attempt())) for n in range(4)])
            await store.register(Registration(agent_id=f"a{round_}"), b"", a_draft().made_at)
            reads = await gatherResults([store.history(DEFAULT_NAMESPACE, 9, None) for _ in range(4)])
            newest = made[-1].value.configuration.version
            self.assertEqual({each[0].tag.version for each in reads}, {newest})

    async def test_session_and_transaction_mode(self) -> None:
        set_limits(self.server, self.user)
        for mode in ("session", "transaction"):
            pooler = self.pooler(pool_mode=mode, ignore_startup_parameters="options", server_idle_timeout="1")
            store = self.store(pooler.url(self.database))
            await self.use(store, 8)
            pooler.stop()
            with self.assertRaises(Unavailable):
                await store.publish(a_draft(1))
            pooler.start()
            await until(lambda store=store: store.problem() is None)
            await self.use(store, 2)
            await store.stopService()
            store.close()

    async def test_what_cannot_work(self) -> None:
        limits = "lock_timeout, statement_timeout, idle_in_transaction_session_timeout"
        pooler = self.pooler(pool_mode="transaction")
        url = pooler.url(self.database)
        self.assertEqual(
            self.refusal(url),
            "a pooler refuses time limits; connect directly, or set ignore_startup_parameters to options.",
        )
        pooler.stop()
        pooler.settings["ignore_startup_parameters"] = "options"
        pooler.start()
        self.assertEqual(
            self.refusal(url),
            f"a pooler drops the time limits of connections; connect directly, or set {limits} of the user with ALTER"
            " ROLE.",
        )
        set_limits(self.server, self.user)
        pooler.stop()
        pooler.settings["pool_mode"] = "statement"
        pooler.start()
        self.assertEqual(self.refusal(url), "the pooler is in statement mode; set its pool_mode to transaction.")
