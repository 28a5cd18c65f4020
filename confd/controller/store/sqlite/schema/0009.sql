-- 9: the waves of a rollout that have begun, as JSON.
ALTER TABLE rollouts ADD COLUMN waves TEXT NOT NULL DEFAULT '[]';
