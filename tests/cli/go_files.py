"""Write databases like those of the Go controller."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

SCHEMA = """
    CREATE TABLE agents (
        id TEXT PRIMARY KEY, registered_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, last_poll TIMESTAMP, metadata TEXT
    );
    CREATE TABLE configurations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER UNIQUE NOT NULL, config_data TEXT NOT NULL,
        created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TABLE active_config (
        id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, config_data TEXT NOT NULL,
        poll_interval_seconds INTEGER DEFAULT 30, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
    );
"""

#: A time as the Go driver writes it.
TIME = "2025-03-04 05:06:07.123456789+02:00"


def url(number: int) -> Mapping[str, str]:
    """Return the document of a version."""
    return {"url": f"https://example.com/{number}"}


def go_database(path: str, version: int, interval: object = 10, history: Sequence[int] | None = None) -> str:
    """
    Make the database of a Go controller.

    @param history: the versions that it has kept; by default all but the first, which the Go system never keeps.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA)
        for number in range(2, version + 1) if history is None else history:
            row = (number, json.dumps(url(number)), TIME)
            connection.execute("INSERT INTO configurations (version, config_data, created_at) VALUES (?, ?, ?)", row)
        active = (version, json.dumps(url(version)), interval, TIME)
        connection.execute("INSERT INTO active_config VALUES (1, ?, ?, ?, ?)", active)
        connection.execute("INSERT INTO agents (id, metadata) VALUES ('a', 'worker_url=http://localhost:8082')")
        connection.commit()
    return path
