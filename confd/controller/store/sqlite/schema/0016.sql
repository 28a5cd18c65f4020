-- 16: calls that passed the policy and the freezes of a namespace. version and rollout: NULL without one.

CREATE TABLE break_glass (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    version INTEGER,
    rollout INTEGER,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    who TEXT NOT NULL,
    subject TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX break_glass_versions ON break_glass (namespace, version);
