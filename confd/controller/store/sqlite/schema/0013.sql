-- 13: the newest backup is found without a scan of the audit.

CREATE INDEX audit_backups ON audit (number) WHERE action = 'GET /api/v1/backup' AND outcome IN ('done', 'cut_off');
