-- What was paid for, and until when it may go on unpaid: Stripe's billing period moves when it begins, paid or not.

ALTER TABLE subscriptions
    ADD COLUMN paid_from       timestamptz,
    ADD COLUMN paid_until      timestamptz,
    ADD COLUMN excused_at      timestamptz,
    ADD COLUMN looked_at       timestamptz,
    ADD COLUMN next_look_at    timestamptz,
    ADD COLUMN collection_void boolean NOT NULL DEFAULT false,
    ADD CHECK ((paid_from IS NULL) = (paid_until IS NULL));
-- A renewal leaves next_look_at as it is, so that it still touches no index: a look that comes too early only finds out
-- when the next one is due.
CREATE INDEX subscriptions_look ON subscriptions (next_look_at) WHERE next_look_at IS NOT NULL;
COMMENT ON COLUMN subscriptions.paid_from IS 'Beginning of the newest period that a paid invoice covers';
COMMENT ON COLUMN subscriptions.paid_until IS 'Its end; null for one-off purchases, and until Stripe has been asked about one that was paid before 0004';
COMMENT ON COLUMN subscriptions.excused_at IS 'The newest time at which it was not to be paid, in a trial or a pause: the grace counts from there';
COMMENT ON COLUMN subscriptions.looked_at IS 'When Stripe was last asked which of its invoices were paid';
COMMENT ON COLUMN subscriptions.next_look_at IS 'When the worker may look whether asking is due; null where there is nothing to ask';
COMMENT ON COLUMN subscriptions.collection_void IS 'Whether invoices are voided while Stripe collects no payments: no service is meant';
COMMENT ON COLUMN subscriptions.current_period_end IS 'Billed until, paid or not, from the newest snapshot';

-- What is not at its end yet, for whoever compares with Stripe.
CREATE INDEX transactions_pending ON transactions (stripe_payment_intent_id) WHERE state IN ('pending', 'open');

ALTER TABLE transactions ADD COLUMN part boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN transactions.part IS 'Of a dispute: whether it claims less than was left of a payment for several lines, so that it ends none';

ALTER TABLE checkouts ADD COLUMN compared_at timestamptz;
COMMENT ON COLUMN checkouts.compared_at IS 'Beginning of the newest comparison with Stripe that has come to it';

-- What was never paid need not be kept for ever, and its history goes with it: of everything else it stays append-only.
CREATE OR REPLACE FUNCTION refuse_rewriting_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (
        SELECT FROM subscriptions s
         WHERE s.id = OLD.subscription_id AND s.status = 'ENDED' AND s.first_paid_at IS NULL
           AND NOT EXISTS (SELECT FROM transactions t WHERE t.subscription_id = s.id))
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'status_changes is append-only';
END $$;
CREATE INDEX checkouts_unpaid ON checkouts (created_at) WHERE status IN ('expired', 'failed');
