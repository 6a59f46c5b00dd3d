-- What has changed, for whoever follows: a row for each change, written with it, in the order of the commits.

CREATE TABLE feed (
    position        bigint      PRIMARY KEY,
    id              uuid        NOT NULL,
    type            text        NOT NULL,
    subscription_id uuid        NOT NULL,
    user_id         text        NOT NULL,
    transaction_id  uuid,
    data            jsonb       NOT NULL,
    origin          text        CHECK (origin IN ('import')),
    at              timestamptz NOT NULL
);
COMMENT ON TABLE feed IS 'Every change of a subscription and its money, told once: no amounts, no names';
COMMENT ON COLUMN feed.position IS 'Without gaps, in the order of the commits, within one epoch';
COMMENT ON COLUMN feed.id IS 'What a receiver knows a repeat by';
COMMENT ON COLUMN feed.type IS 'subscription.created, subscription.status_changed, transaction.recorded, …';
COMMENT ON COLUMN feed.subscription_id IS 'Not a foreign key: what came to nothing is purged, and its rows are told all the same';
COMMENT ON COLUMN feed.transaction_id IS 'Of what is told of money: its row in transactions';
COMMENT ON COLUMN feed.data IS 'What was true after the change, and what was before where the type says so';
COMMENT ON COLUMN feed.origin IS 'import: nobody is to be greeted; null for what happened';

-- A number that is handed out before the commit is not in the order of the commits: whoever reads on from the last one
-- would miss what was committed late. So each writer raises this row last of all, and holds it until its commit.
CREATE TABLE feed_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch    text    NOT NULL,
    position bigint  NOT NULL
) WITH (fillfactor = 10);
INSERT INTO feed_head (epoch, position) VALUES (substr(md5(gen_random_uuid()::text), 1, 8), 0);
COMMENT ON TABLE feed_head IS 'The last position of the feed: one row';
COMMENT ON COLUMN feed_head.epoch IS 'Another after a restore from a dump, whose positions may have been told already';
COMMENT ON COLUMN feed_head.position IS 'Of the newest row; 0 before the first';
