-- 8: rollouts, their members and their plans. Plans are JSON; times are RFC 3339 UTC.

-- The version that callers outside of a rollout get; NULL: the newest.
ALTER TABLE namespaces ADD COLUMN current_version INTEGER;

CREATE TABLE plans (
    name TEXT PRIMARY KEY,
    body TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE rollouts (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    base INTEGER NOT NULL,
    candidate INTEGER NOT NULL,
    plan TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'paused', 'finishing', 'completed', 'aborted', 'superseded')),
    wave INTEGER NOT NULL,
    -- Counts the transitions.
    step INTEGER NOT NULL,
    reason TEXT NOT NULL,
    started_by TEXT NOT NULL,
    started_at TEXT NOT NULL,
    step_at TEXT NOT NULL,
    ended_at TEXT,
    ended_as INTEGER,
    -- Members without the candidate at the completion.
    behind INTEGER NOT NULL DEFAULT 0,
    CHECK (base < candidate)
);

CREATE UNIQUE INDEX one_open_rollout ON rollouts (namespace) WHERE state IN ('running', 'paused', 'finishing');

CREATE TABLE exposures (
    rollout INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    wave INTEGER NOT NULL,
    how TEXT NOT NULL CHECK (how IN ('picked', 'detected')),
    fit INTEGER NOT NULL,
    at TEXT NOT NULL,
    gone INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'applied', 'failed')),
    verified INTEGER NOT NULL DEFAULT 0,
    runs INTEGER NOT NULL DEFAULT 0,
    repairs INTEGER NOT NULL DEFAULT 0,
    session TEXT NOT NULL DEFAULT '',
    session_repairs INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (rollout, agent_id)
) WITHOUT ROWID;

-- The fate of each version that a rollout delivered.
CREATE TABLE candidates (
    namespace TEXT NOT NULL,
    version INTEGER NOT NULL,
    rollout INTEGER NOT NULL,
    fate TEXT NOT NULL CHECK (fate IN ('open', 'activated', 'dropped')),
    PRIMARY KEY (namespace, version)
) WITHOUT ROWID;
