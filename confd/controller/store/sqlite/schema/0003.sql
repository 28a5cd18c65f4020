-- 3: several clusters' names in one history, the history in a page, pruning.

-- Every cluster_id that this database ever had; revisions keep the one that they were made under.
CREATE TABLE clusters (
    id INTEGER PRIMARY KEY,
    cluster_id TEXT NOT NULL UNIQUE
);

INSERT INTO clusters (cluster_id) SELECT cluster_id FROM meta;

CREATE TRIGGER cluster_is_named AFTER INSERT ON meta
BEGIN
    INSERT OR IGNORE INTO clusters (cluster_id) VALUES (NEW.cluster_id);
END;

CREATE TRIGGER cluster_is_renamed AFTER UPDATE OF cluster_id ON meta
BEGIN
    INSERT OR IGNORE INTO clusters (cluster_id) VALUES (NEW.cluster_id);
END;

-- All that were made before this step were made under the first one.
ALTER TABLE revisions ADD COLUMN cluster INTEGER NOT NULL DEFAULT 1;

-- The history without documents: a row is read past a large document only by reading all of it.
CREATE INDEX revisions_listed ON revisions (
    namespace, version, cluster, epoch, checksum, poll_interval, created_at, author, comment, rollback_of
);

-- Versions up to this one were given up; their rows may go.
ALTER TABLE namespaces ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER revisions_never_go;

CREATE TRIGGER revisions_never_go BEFORE DELETE ON revisions
WHEN OLD.version > (SELECT pruned FROM namespaces WHERE name = OLD.namespace)
BEGIN
    SELECT RAISE(ABORT, 'a revision is deleted only where it was pruned');
END;
