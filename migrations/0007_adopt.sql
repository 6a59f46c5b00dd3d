-- What another system sold at Stripe becomes ours: a checkout that never had a session of ours, and the id by which that
-- system knows its line.

-- A replica of the version before can't read such a checkout: adopt when the last one is gone.
ALTER TABLE checkouts
    DROP CONSTRAINT checkouts_mode_check,
    ADD CONSTRAINT checkouts_mode_check CHECK (mode IN ('payment', 'subscription', 'adopted')),
    ADD CONSTRAINT checkouts_adopted CHECK (mode <> 'adopted' OR stripe_session_id IS NULL AND status = 'complete');
-- Whose a customer is who stands in no row of customers, because the member buys with another one.
CREATE INDEX checkouts_adopted_customer ON checkouts (stripe_customer_id) WHERE mode = 'adopted';
COMMENT ON COLUMN checkouts.mode IS 'Of the session at Stripe: subscription when one line is recurring; adopted: another system sold it, and no session is ours';

ALTER TABLE subscriptions ADD COLUMN external_id text CHECK (octet_length(external_id) BETWEEN 1 AND 255);
CREATE UNIQUE INDEX subscriptions_external ON subscriptions (external_id) WHERE external_id IS NOT NULL;
COMMENT ON COLUMN subscriptions.external_id IS 'By which another system knows it, where one sold it; metadata may name the line by it';
