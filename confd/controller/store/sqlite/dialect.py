"""The statements that SQLite needs in words of its own."""

from __future__ import annotations

from confd.controller.store.cursor import Dialect
from confd.controller.store.queries.rollouts import OPEN

DIALECT = Dialect(
    touch="""
        UPDATE agents SET last_poll = value FROM json_each(?)
        WHERE agents.id = key AND (last_poll IS NULL OR last_poll < value)""",
    # Reports and outcomes are JSON already: json_array would parse them.
    load_reported=f"""
        SELECT EXISTS (SELECT 1 FROM rollouts WHERE {OPEN}),
            '[' || coalesce(group_concat('[' || keys.key || ',' || json_quote(a.namespace) || ','
            || coalesce(a.report, 'null') || ',' || coalesce(o.outcome, 'null') || ']'), '') || ']'
        FROM json_each(?) AS keys JOIN agents AS a ON a.id = keys.value ->> 0 LEFT JOIN outcomes AS o
        ON o.namespace = a.namespace AND o.version = keys.value ->> 1 AND o.agent_id = a.id""",
)
