-- 4: who tried to change what. Nothing but the next entry of the chain can be written.

CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    peer TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    request_id TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);

CREATE TRIGGER audit_only_grows BEFORE INSERT ON audit
WHEN (NEW.number, NEW.previous)
    IS NOT (SELECT coalesce(max(number), 0) + 1, coalesce((SELECT hash FROM audit ORDER BY number DESC LIMIT 1), '')
            FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'an entry of the audit follows the last one');
END;

CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'an entry of the audit never changes');
END;

CREATE TRIGGER audit_never_goes BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'an entry of the audit is never deleted');
END;
