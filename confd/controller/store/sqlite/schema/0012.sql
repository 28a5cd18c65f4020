-- 12: checks of rollouts, and waves that go on in parallel. Times are RFC 3339 UTC.

-- Agents that the present wave has yet to expose.
ALTER TABLE rollouts ADD COLUMN to_expose INTEGER NOT NULL DEFAULT 0;

-- A verdict counts in its step only.
CREATE TABLE verdicts (
    rollout INTEGER NOT NULL,
    step INTEGER NOT NULL,
    name TEXT NOT NULL,
    pass INTEGER NOT NULL,
    who TEXT NOT NULL,
    comment TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (rollout, step, name)
) WITHOUT ROWID;
