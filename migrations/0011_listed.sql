-- Indexes for operators' lists of subscriptions. A migration for each table: while an index is built nobody writes to its
-- table, and replicas of the version before, which write to several in one statement, must not wait for us in a ring.

-- One index for plan, kind, provider, status and reason, alone or together: the few combinations that there are, are
-- found by leaping from one to the next, and each is read newest first. A renewal changes none of its columns.
CREATE INDEX subscriptions_listed ON subscriptions (kind, plan, provider, status, status_reason, id);
-- What Stripe will end by itself, those first that end first. Not by current_period_end, which every renewal moves.
CREATE INDEX subscriptions_ending ON subscriptions (cancel_at, id)
    WHERE status <> 'ENDED' AND (cancel_at IS NOT NULL OR cancel_at_period_end);
CREATE INDEX subscriptions_joined ON subscriptions (first_paid_at, id) WHERE first_paid_at IS NOT NULL;
