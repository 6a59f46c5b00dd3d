-- What operators look at: lists of everything, and counts that answer at once.

-- One index for plan, kind, provider, status and reason, alone or together: the few combinations that there are, are
-- found by leaping from one to the next, and each is read newest first. A renewal changes none of its columns.
CREATE INDEX subscriptions_listed ON subscriptions (kind, plan, provider, status, status_reason, id);
-- What Stripe will end by itself, those first that end first. Not by current_period_end, which every renewal moves.
CREATE INDEX subscriptions_ending ON subscriptions (cancel_at, id)
    WHERE status <> 'ENDED' AND (cancel_at IS NOT NULL OR cancel_at_period_end);
CREATE INDEX subscriptions_joined ON subscriptions (first_paid_at, id) WHERE first_paid_at IS NOT NULL;

-- What is settled stands in no index of its own: every webhook would write it.
DROP INDEX webhook_events_unsettled;
CREATE INDEX webhook_events_unsettled ON webhook_events (state, received_at, id)
    WHERE state IN ('deferred', 'failed', 'flagged', 'ignored');
-- Those that come with every renewal are so many that whoever wants them finds them among the newest.
CREATE INDEX webhook_events_rarer ON webhook_events (type, received_at, id)
    WHERE type NOT IN ('invoice.paid', 'invoice_payment.paid', 'customer.subscription.updated');

CREATE TABLE in_force_days (
    plan text NOT NULL,
    day  date NOT NULL,
    net  integer NOT NULL,
    PRIMARY KEY (plan, day)
);
COMMENT ON TABLE in_force_days IS 'By how many the subscriptions in force (ACTIVE or CANCELLED) of a plan grew on a day (UTC): their sum is how many there are';
COMMENT ON COLUMN in_force_days.plan IS 'On which it was at that time';
COMMENT ON COLUMN in_force_days.net IS 'Those that came into force minus those that went out of it';

-- A change may be numbered before another one and be committed after it. So each look goes only as far as the numbers had
-- come at the look before, a minute ago: no statement takes so long.
CREATE TABLE in_force_walk (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    done      bigint NOT NULL,
    seen      bigint NOT NULL,
    recounted date
);
INSERT INTO in_force_walk (done, seen) SELECT 0, coalesce(max(seq), 0) FROM status_changes;
COMMENT ON TABLE in_force_walk IS 'How far status_changes is counted in in_force_days: one row';
COMMENT ON COLUMN in_force_walk.done IS 'The last seq that is counted';
COMMENT ON COLUMN in_force_walk.seen IS 'The greatest seq of the look before: so far the next one goes';
COMMENT ON COLUMN in_force_walk.recounted IS 'The day on which the sums were last held against the rows';

CREATE TABLE today (
    one               boolean PRIMARY KEY DEFAULT true CHECK (one),
    counted_at        timestamptz NOT NULL,
    failed            bigint NOT NULL,
    flagged           bigint NOT NULL,
    deferred_too_long bigint NOT NULL,
    parked            bigint NOT NULL,
    actions_unknown   bigint NOT NULL,
    ending            bigint NOT NULL,
    in_force          jsonb NOT NULL,
    on_hold           jsonb NOT NULL,
    history           jsonb NOT NULL
);
COMMENT ON TABLE today IS 'What the page of the day shows, as last counted: one row';
COMMENT ON COLUMN today.deferred_too_long IS 'Events that have waited for the worker for more than 15 minutes';
COMMENT ON COLUMN today.parked IS 'Members whose changes a follower refuses';
COMMENT ON COLUMN today.ending IS 'What ends within 30 days';
COMMENT ON COLUMN today.history IS 'Of each plan how many were in force at the end of each of the last 366 days (UTC), the last one today';

CREATE TABLE last_comparison (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    at  timestamptz NOT NULL
);
COMMENT ON TABLE last_comparison IS 'When the last comparison with Stripe came to its end: one row';

-- Whose subscriptions are meant: who looks after members wants to know.
CREATE TABLE differing (
    subscription_id uuid PRIMARY KEY REFERENCES subscriptions (id) ON DELETE CASCADE,
    direction       text NOT NULL CHECK (direction IN ('paid_not_here', 'here_not_paid')),
    began           timestamptz NOT NULL,
    found_at        timestamptz NOT NULL
);
CREATE INDEX differing_found ON differing (found_at DESC, subscription_id);
CREATE INDEX differing_direction ON differing (direction);
COMMENT ON TABLE differing IS 'Subscriptions of which Stripe says something else than our row, as a comparison has found them, until the next one or until somebody takes over what Stripe says';
COMMENT ON COLUMN differing.direction IS 'paid_not_here: paid at Stripe and not in force here; here_not_paid: the reverse';
COMMENT ON COLUMN differing.began IS 'Beginning of the comparison that found it last';
COMMENT ON COLUMN differing.found_at IS 'When it was found first';
