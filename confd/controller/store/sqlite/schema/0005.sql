-- 5: what agents reported. Reports, outcomes and summaries are JSON.

ALTER TABLE agents ADD COLUMN report TEXT;
ALTER TABLE agents ADD COLUMN reported_at TEXT;

-- What became of the newest versions of a namespace on each of its agents.
CREATE TABLE outcomes (
    namespace TEXT NOT NULL,
    version INTEGER NOT NULL,
    agent_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    PRIMARY KEY (namespace, version, agent_id)
) WITHOUT ROWID;

-- What became of the versions before them.
CREATE TABLE summaries (
    namespace TEXT NOT NULL,
    version INTEGER NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (namespace, version)
) WITHOUT ROWID;
