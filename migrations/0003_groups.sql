-- Webhooks are written in groups, and every statement is a look-up by index.

-- A renewal changes no column that an index holds: with room on its page the row stays where it is, and no index has to
-- be written. New pages alone leave that room; `VACUUM FULL subscriptions` makes it on old ones.
ALTER TABLE subscriptions SET (fillfactor = 80);

-- Only the sweep may read this index. Before, a question for one member's open checkouts could be answered from it too,
-- by reading those of everybody, and on a small table Postgres thought that cheaper.
DROP INDEX checkouts_sweep;
CREATE INDEX checkouts_sweep ON checkouts (next_repair_at) WHERE status = 'open' AND next_repair_at IS NOT NULL;
