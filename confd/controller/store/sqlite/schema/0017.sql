-- 17: where an agent serves its metrics, as host and port.

ALTER TABLE agents ADD COLUMN advertise TEXT NOT NULL DEFAULT '';
