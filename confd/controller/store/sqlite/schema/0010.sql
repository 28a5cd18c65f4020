-- 10: API tokens, and whom and what the audit is about. Grants are JSON; times are RFC 3339 UTC.

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    -- The secret before the last rotation.
    previous_digest BLOB,
    previous_until TEXT,
    grants TEXT NOT NULL,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at TEXT,
    revoked_at TEXT,
    last_used_at TEXT,
    last_used_from TEXT
) WITHOUT ROWID;

CREATE UNIQUE INDEX token_name ON tokens (name) WHERE revoked_at IS NULL;

ALTER TABLE audit ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN subject TEXT NOT NULL DEFAULT '';
