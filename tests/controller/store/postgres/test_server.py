"""A server of the test's own, which refuses, crashes and comes back."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import SkipTest, TestCase

from confd.controller.store.postgres.errors import UNTRUSTED
from confd.controller.store.postgres.store import PostgresStore
from confd.controller.store.postgres.url import DatabaseUrl
from confd.errors import StartError, Unavailable
from confd.model import DEFAULT_NAMESPACE
from confd.testing import a_draft
from tests.controller.store.fixtures import until
from tests.controller.store.postgres.fixtures import FIRST, ended
from tests.controller.store.postgres.server import PostgresServer, has_tls, shared_server
from tests.integration.certificates import make_certificate


class ServerTestCase(TestCase):
    """Starts of controllers."""

    timeout = 60

    def store(self, url: str) -> PostgresStore:
        """Return a store that runs until the test is over."""
        store = PostgresStore(reactor, DatabaseUrl.parse(url), FIRST, patience=0.5)
        self.addCleanup(ended, store)
        store.startService()
        return store

    def refusal(self, url: str) -> str:
        """Return what a start says of the database, without its name."""
        store = PostgresStore(reactor, DatabaseUrl.parse(url), FIRST)
        self.addCleanup(store.close)
        with self.assertRaises(StartError) as caught:
            store.startService()
        self.assertNotIn("pa55", str(caught.exception))
        return str(caught.exception).partition(" cannot be used: ")[2]


class ServerTests(ServerTestCase):
    """What a controller makes of the life of its server."""

    def setUp(self) -> None:
        # Skips, where no server can be had.
        shared_server()
        self.server = PostgresServer()
        self.addCleanup(self.server.remove)
        self.server.create()

    async def test_crash(self) -> None:
        """What was acknowledged is there, and the store heals alone; it also starts while the server is away."""
        self.server.start()
        url = self.server.url(self.server.new_database())
        store = self.store(url)
        published = [store.publish(a_draft(number)) for number in range(50)]
        versions = [(await each).value.configuration.version for each in published]
        self.server.stop(signal.SIGQUIT)
        with self.assertRaisesRegex(Unavailable, "The controller's database cannot be used now: "):
            await store.publish(a_draft(99))
        with self.assertRaises(Unavailable):
            await store.history(DEFAULT_NAMESPACE, 1, None)
        await ended(store)
        early = self.store(url)
        self.assertIn("cannot be reached", early.problem() or "")
        with self.assertRaises(Unavailable):
            await early.contents()
        self.server.start()
        await until(lambda: early.problem() is None)
        kept = [each.tag.version for each in await early.history(DEFAULT_NAMESPACE, 100, None)]
        self.assertEqual(kept[::-1], [1, *versions])
        self.assertEqual((await early.publish(a_draft(100))).value.configuration.version, versions[-1] + 1)

    async def test_password_and_certificate(self) -> None:
        if not has_tls():
            raise SkipTest("this build of PostgreSQL has no TLS")
        certificate = make_certificate(self.server.folder / "tls")
        certificate.key.chmod(0o600)
        self.server.hand_over(certificate.key)
        rules = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        (self.server.data / "pg_hba.conf").write_text(rules)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        files = {"ssl_cert_file": str(certificate.certificate), "ssl_key_file": str(certificate.key)}
        self.server.settings = {"listen_addresses": "127.0.0.1", "port": str(port), "ssl": "on", **files}
        self.server.start()
        with self.server.connect("postgres") as connection:
            connection.execute("ALTER ROLE confd PASSWORD 'pa55'")
        query = f"sslmode=verify-full&sslrootcert={certificate.authority}"
        url = f"postgresql://confd:pa55@127.0.0.1:{port}/postgres"
        await ended(self.store(f"{url}?{query}"))
        self.assertEqual(
            self.refusal(f"{url.replace('pa55', 'pa55word')}?{query}"),
            "the user name or the password is wrong; correct it.",
        )
        self.assertEqual(
            self.refusal(f"{url.replace(':pa55', '')}?{query}&passfile=/nowhere"),
            "the user name or the password is wrong; correct it.",
        )
        self.assertEqual(
            self.refusal(f"{url}?sslmode=disable"),
            "the server refuses this user; check the user name and pg_hba.conf.",
        )
        other = make_certificate(Path(self.mktemp()))
        self.assertEqual(self.refusal(f"{url}?sslmode=verify-full&sslrootcert={other.authority}"), f"{UNTRUSTED}.")


class OrdinaryUserTests(ServerTestCase):
    """A user who owns the database, and no more."""

    async def test_ordinary_user(self) -> None:
        """A server that is read-only, or has no free connection, and heals."""
        server = shared_server()
        database = server.new_database()

        def change(*statements: str) -> None:
            with server.connect("postgres") as connection:
                for each in statements:
                    connection.execute(each)  # type: ignore[call-overload]

        cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'"
        change("CREATE ROLE app LOGIN")
        url = server.url(database).replace("confd@", "app@")
        self.assertEqual(self.refusal(url), "the user lacks a privilege; let it own the database.")
        change(f"ALTER DATABASE {database} OWNER TO app", "ALTER ROLE app CONNECTION LIMIT 0")
        store = self.store(url)
        self.assertIn("the server has no free connection; raise max_connections", store.problem() or "")
        change("ALTER ROLE app CONNECTION LIMIT -1")
        await until(lambda: store.problem() is None)
        for fault, heal, sentence in (
            ("ALTER ROLE app CONNECTION LIMIT 0", "ALTER ROLE app CONNECTION LIMIT -1", "the server has no free conn"),
            (
                f"ALTER DATABASE {database} SET default_transaction_read_only = on",
                f"ALTER DATABASE {database} RESET default_transaction_read_only",
                "it is read-only; connect to the primary server, or make it writable",
            ),
        ):
            change(fault, cut)
            with self.assertRaisesRegex(Unavailable, sentence):
                await store.publish(a_draft(2))
            change(heal, cut)
            await until(lambda: store.problem() is None)
        self.assertEqual((await store.publish(a_draft(3))).value.configuration.version, 2)
