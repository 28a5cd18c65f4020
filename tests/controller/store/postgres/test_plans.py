"""How PostgreSQL finds the rows of frequent statements."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import TestCase

from confd.controller.store.postgres.cursor import DIALECT, translate
from confd.controller.store.queries.registrations import KNOWN
from confd.controller.store.queries.reports import DROP, FIND_END, STORE_REPORTS
from tests.controller.store.postgres.fixtures import new_database
from tests.controller.store.postgres.server import shared_server

#: Agents of the tests: a table that PostgreSQL reads whole for 100 of them.
_AGENTS = """
    INSERT INTO agents (id, namespace, hostname, metadata, strategy, registered_at)
    SELECT md5(CAST(number AS text)), 'default', '', '', 'POLL', '' FROM generate_series(1, 5000) AS number
"""


class PlanTests(TestCase):
    """The statements of each group of reports and registrations, in a database without statistics."""

    def setUp(self) -> None:
        self.connection = shared_server().connect(new_database(self))
        self.addCleanup(self.connection.close)

    def check_indexed(self, statement: str, listed: object) -> None:
        """Fail if a statement reads the whole table of agents, or of outcomes."""
        values = [msgspec.json.encode(listed).decode()]
        rows = self.connection.execute(f"EXPLAIN {translate(statement)}", values)  # type: ignore[call-overload]
        plan = "\n".join(line for (line,) in rows)
        self.assertIn("agents_pkey", plan)
        self.assertNotIn("Seq Scan on agents", plan)
        self.assertNotIn("Seq Scan on outcomes", plan)

    def check_look_up(self, statement: str, listed: object) -> None:
        """Fail if a statement would read whole tables, with the plan for many agents or with the one for none."""
        self.check_indexed(statement, listed)
        self.connection.execute(_AGENTS)
        self.check_indexed(statement, listed)

    def test_last_reports(self) -> None:
        self.check_look_up(DIALECT.load_reported, [[f"a{number}", 1] for number in range(20)])

    def test_new_reports(self) -> None:
        self.connection.execute(_AGENTS)
        self.check_indexed(STORE_REPORTS, [[f"a{number}", "{}", ""] for number in range(20)])

    def test_known_agents(self) -> None:
        self.check_look_up(KNOWN, [[f"a{number}"] for number in range(20)])

    def test_outcomes_to_drop(self) -> None:
        """The outcomes of the oldest version leave in parts; each part is found by the primary key, in its order."""
        self.connection.execute(
            "INSERT INTO outcomes SELECT 'default', version, md5(CAST(number AS text)), ''"
            " FROM generate_series(1, 3000) AS number, generate_series(1, 16) AS version"
        )
        # Rows that are a version old have statistics.
        self.connection.execute("ANALYZE outcomes")
        for statement, values in (
            (FIND_END, ("default", 1, 0, "", 999)),
            (DROP, ("default", 1, 0, "", 1, "8000")),
        ):
            rows = self.connection.execute(f"EXPLAIN {translate(statement)}", values)  # type: ignore[call-overload]
            plan = "\n".join(line for (line,) in rows)
            self.assertIn("outcomes_pkey", plan)
            self.assertNotIn("Sort", plan)
