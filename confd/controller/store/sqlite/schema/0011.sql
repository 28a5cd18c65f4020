-- 11: freezes. Patterns of namespaces and times of activity are JSON; times are RFC 3339 UTC.

CREATE TABLE freezes (
    id INTEGER PRIMARY KEY,
    namespaces TEXT NOT NULL,
    body TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    removed_at TEXT
);
