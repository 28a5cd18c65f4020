-- 15: events that wait for the receivers of webhooks. Times are RFC 3339 UTC.

CREATE TABLE webhook_queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    url_index INTEGER NOT NULL,
    body BLOB NOT NULL,
    created_at TEXT NOT NULL
);

CREATE INDEX webhook_waiting ON webhook_queue (url_index, id);

-- dropped: events that were deleted unsent. holder: the controller that sends, until held_until.
CREATE TABLE webhook_receivers (
    url_index INTEGER PRIMARY KEY,
    dropped INTEGER NOT NULL DEFAULT 0,
    holder TEXT NOT NULL DEFAULT '',
    held_until TEXT NOT NULL DEFAULT ''
);

-- The last event of each kind and namespace that is sent once.
CREATE TABLE webhook_sent (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    version INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace)
) WITHOUT ROWID;
