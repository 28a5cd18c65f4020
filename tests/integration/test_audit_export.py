"""The audit log in Kafka proves a change that a person with root made to the database of a controller."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
from attrs import astuple, evolve, fields
from twisted.trial.unittest import SynchronousTestCase

from confd.audit import AuditEntry
from confd.cli.errors import Exit
from tests.budgets import budget
from tests.controller.store.postgres.server import shared_server
from tests.integration.commands import confdctl
from tests.integration.fleet import ADMIN, eventually, request, staged
from tests.integration.kafka import KafkaServer, MockCluster, consume, why_not

REWRITE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "audit" / "rewrite.py"

TOPIC = "confd.audit"


def rewrite_postgres(url: str, number: int, who: str) -> None:
    """Do to PostgreSQL what C{docs/examples/audit/rewrite.py} does to SQLite."""
    names = [each.name for each in fields(AuditEntry)]
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE audit DISABLE TRIGGER USER")
        rows = connection.execute(
            f"SELECT {', '.join(names)} FROM audit WHERE number >= %s ORDER BY number", (number,)
        ).fetchall()
        previous = None
        for entry in [AuditEntry(*row) for row in rows]:
            forged = evolve(entry, who=who) if previous is None else evolve(entry, previous=previous)
            forged = evolve(forged, hash=forged.digest())
            changes = ", ".join(f"{name} = %s" for name in names)
            connection.execute(f"UPDATE audit SET {changes} WHERE number = %s", (*astuple(forged), forged.number))
            previous = forged.hash
        connection.execute("ALTER TABLE audit ENABLE TRIGGER USER")


class ProofTests(SynchronousTestCase):
    """C{KAFKA_AUDIT_TOPIC} and C{confdctl audit verify --against}."""

    def prove(self, servers: str, database: dict[str, str], rewrite: Any) -> None:
        """Export, rewrite the database, and verify: the copy tells what the chain does not."""
        fleet, target = staged(self)
        controller = fleet.controller("--kafka-audit-topic", TOPIC, "--kafka-bootstrap", servers)
        controller.environ = database
        controller.start()
        for number in range(5):
            fleet.publish({"url": f"{target}/{number}"})
        request("POST", f"{fleet.url}/api/v1/config", {}, ("admin", "wrong"))
        count = len(request("GET", f"{fleet.url}/api/v1/audit", auth=ADMIN).json()["items"])
        export = fleet.folder / "audit.jsonl"

        def exported() -> bool:
            lines = [value for _, value in consume(servers, TOPIC)]
            export.write_bytes(b"".join(line + b"\n" for line in lines))
            return len(lines) >= count

        eventually(exported)
        environ = {"CONFD_URL": fleet.url}
        verified = confdctl("audit", "verify", "--against", str(export), environ=environ, folder=fleet.folder)
        self.assertEqual(verified.status, 0, verified.err)
        self.assertIn(f"The export covers 1 to {count}.", verified.out)
        rewrite(fleet.folder)
        self.assertEqual(confdctl("audit", "verify", environ=environ, folder=fleet.folder).status, 0)
        proof = confdctl("audit", "verify", "--against", str(export), environ=environ, folder=fleet.folder)
        self.assertEqual(proof.status, Exit.UNSOUND)
        self.assertIn("Entry 3 differs from the export", proof.err)
        # The next entry does not follow the exported ones.
        fleet.publish({"url": f"{target}/last"})
        ready = eventually(
            lambda: (
                found if "not the exported one" in (found := request("GET", f"{fleet.url}/ready").body.decode()) else ""
            )
        )
        self.assertIn(f"KAFKA_AUDIT_TOPIC: entry {count} of the database", ready)
        self.assertEqual(len(consume(servers, TOPIC)), count)
        self.assertEqual(controller.stop(), 0)

    def test_rewritten_sqlite_on_a_real_server(self) -> None:
        server = KafkaServer(Path(self.mktemp()).resolve())
        server.topics = {TOPIC: {"cleanup.policy": "delete", "retention.ms": "-1"}}
        self.addCleanup(server.stop)
        server.start()

        def rewrite(folder: Path) -> None:
            command = [sys.executable, str(REWRITE), str(next(folder.glob("*.db"))), "3", "somebody"]
            subprocess.run(command, check=True, timeout=60)

        self.prove(f"127.0.0.1:{server.port}", {}, rewrite)

    test_rewritten_sqlite_on_a_real_server.skip = (  # type: ignore[attr-defined]
        budget("a real server: CONFD_TEST_BUDGET=full", None) or why_not()
    )

    def test_rewritten_postgresql(self) -> None:
        server = shared_server()
        url = server.url(server.new_database())
        cluster = MockCluster(topic=TOPIC).start()
        host, port = cluster.address
        database = {"DATABASE_URL": url, "DATABASE_INIT": "true"}
        self.prove(f"{host}:{port}", database, lambda _: rewrite_postgres(url, 3, "somebody"))
