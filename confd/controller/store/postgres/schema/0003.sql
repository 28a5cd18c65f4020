-- 3: what people see of controllers. settings: a digest of each setting that must agree, as JSON.
ALTER TABLE controllers ADD COLUMN seen_seq bigint NOT NULL DEFAULT 0, ADD COLUMN settings text NOT NULL DEFAULT '{}';
