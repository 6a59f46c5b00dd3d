-- Which subscriptions the counts of the last comparison mean: who looks after members wants to know whose they are.

CREATE TABLE differing (
    subscription_id uuid PRIMARY KEY REFERENCES subscriptions (id) ON DELETE CASCADE,
    direction       text NOT NULL CHECK (direction IN ('paid_not_here', 'here_not_paid')),
    began           timestamptz NOT NULL,
    found_at        timestamptz NOT NULL
);
CREATE INDEX differing_found ON differing (found_at DESC, subscription_id);
COMMENT ON TABLE differing IS 'Subscriptions of which Stripe says something else than our row, as a comparison has found them, until the next one or until somebody takes over what Stripe says';
COMMENT ON COLUMN differing.direction IS 'paid_not_here: paid at Stripe and not in force here; here_not_paid: the reverse';
COMMENT ON COLUMN differing.began IS 'Beginning of the comparison that found it last';
COMMENT ON COLUMN differing.found_at IS 'When it was found first';
