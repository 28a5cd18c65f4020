-- 2: what brokers still need. seq: the newest change of a namespace; done_seq: the change that the broker has.
CREATE TABLE announcements (
    broker text NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    done_seq bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL,
    claimed_by uuid,
    claimed_at timestamptz,
    PRIMARY KEY (broker, namespace)
) WITH (fillfactor = 50);
