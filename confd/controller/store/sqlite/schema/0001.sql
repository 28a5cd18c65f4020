-- 1: namespaces, their revisions, idempotency keys, agents. Times are RFC 3339 UTC.

-- Tells a database of confd from one of any other program ("cnfd").
PRAGMA application_id = 1668179556;

-- One row: whose database this is.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    cluster_id TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch >= 1)
);

-- One row that is written to see whether writing works.
CREATE TABLE probe (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    noise BLOB NOT NULL
);

CREATE TABLE namespaces (
    name TEXT PRIMARY KEY,
    retired INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1))
) WITHOUT ROWID;

CREATE TABLE revisions (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    version INTEGER NOT NULL CHECK (version >= 1),
    epoch INTEGER NOT NULL,
    document TEXT NOT NULL,
    checksum TEXT NOT NULL,
    -- Seconds.
    poll_interval INTEGER NOT NULL,
    author TEXT NOT NULL,
    comment TEXT NOT NULL,
    rollback_of INTEGER,
    created_at TEXT NOT NULL,
    UNIQUE (namespace, version)
);

CREATE TRIGGER revisions_never_change BEFORE UPDATE ON revisions
BEGIN
    SELECT RAISE(ABORT, 'a revision never changes');
END;

CREATE TRIGGER revisions_never_go BEFORE DELETE ON revisions
BEGIN
    SELECT RAISE(ABORT, 'a revision is never deleted');
END;

-- What was answered to a retry; the newest of all namespaces are kept.
CREATE TABLE idempotency_keys (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (namespace, key)
);

CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    hostname TEXT NOT NULL,
    metadata TEXT NOT NULL,
    strategy TEXT NOT NULL,
    registered_at TEXT NOT NULL,
    last_poll TEXT
) WITHOUT ROWID;
