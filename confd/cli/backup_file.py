"""The contents of a backup."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from confd.codec.strict_json import JsonObject

_FACTS = """
    SELECT (SELECT cluster_id FROM meta) AS cluster,
           (SELECT max(epoch) FROM revisions) AS epoch,
           (SELECT count(*) FROM namespaces WHERE NOT retired) AS namespaces,
           (SELECT count(*) FROM revisions) AS versions,
           (SELECT count(*) FROM audit) AS audit_entries
"""


def describe_database(path: Path) -> JsonObject | None:
    """Return what the database in a file holds, after a check of all its pages; C{None} if it is damaged."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                return None
            cursor = connection.execute(_FACTS)
            return dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
    except sqlite3.Error:
        return None
