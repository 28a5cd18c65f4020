-- 2: the keys that announcements are signed with; of those that are kept the newest is in use, the other still good.

CREATE TABLE signing_keys (
    id INTEGER PRIMARY KEY,
    private BLOB NOT NULL CHECK (length(private) = 32)
);
