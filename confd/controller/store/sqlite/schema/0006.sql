-- 6: the tokens of agents, and who is kept out.

-- SHA-256 over the id, a colon, and the token: nothing that somebody could show as a token.
ALTER TABLE agents ADD COLUMN token BLOB CHECK (length(token) = 32);

CREATE TABLE blocked_agents (
    id TEXT PRIMARY KEY
) WITHOUT ROWID;
