-- 18: changes that are proposed, approved, scheduled and applied. Times are RFC 3339 UTC; callers who sign are JSON.

CREATE TABLE change_requests (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('publish', 'rollback', 'replace', 'review')),
    state TEXT NOT NULL,
    checksum TEXT NOT NULL,
    document_checksum TEXT NOT NULL,
    base TEXT NOT NULL,
    base_checksum TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at TEXT NOT NULL,
    comment TEXT NOT NULL,
    rollback_of INTEGER,
    rollout INTEGER,
    plan TEXT NOT NULL,
    poll_interval INTEGER,
    at TEXT,
    scheduled_by TEXT,
    ended_at TEXT,
    result TEXT NOT NULL,
    version INTEGER,
    step INTEGER NOT NULL,
    document TEXT
);
CREATE INDEX change_requests_pending ON change_requests (namespace)
    WHERE state IN ('open', 'approved', 'scheduled', 'stale', 'suspended', 'missed');
CREATE INDEX change_requests_listed ON change_requests (namespace, id);
CREATE UNIQUE INDEX change_requests_applied ON change_requests (namespace, version) WHERE version IS NOT NULL;

-- One approval of a subject for each change.
CREATE TABLE approvals (
    change INTEGER NOT NULL,
    subject TEXT NOT NULL,
    signer TEXT NOT NULL,
    checksum TEXT NOT NULL,
    at TEXT NOT NULL,
    comment TEXT NOT NULL,
    PRIMARY KEY (change, subject)
) WITHOUT ROWID;
