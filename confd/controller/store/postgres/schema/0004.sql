-- 4: controllers tell each other the ids of the agents that showed no token of their own.
ALTER TABLE presence ADD COLUMN shared text NOT NULL DEFAULT '[]';
