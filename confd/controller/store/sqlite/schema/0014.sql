-- 14: policies of namespaces, as JSON. A policy stays when its namespace is retired.

CREATE TABLE policies (namespace TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
