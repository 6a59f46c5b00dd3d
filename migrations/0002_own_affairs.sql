-- What members do with what they hold: change plan and quantity, repeat an order from another device.

CREATE TABLE idempotency_keys (
    user_id     text NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    key         text NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    checkout_id uuid NOT NULL REFERENCES checkouts (id),
    created_at  timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_used PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_checkout ON idempotency_keys (checkout_id);
COMMENT ON TABLE idempotency_keys IS 'The clients'' keys: several may stand for one checkout, for an open one is given again to whoever orders the same';
COMMENT ON COLUMN idempotency_keys.user_id IS 'Whose key it is';
COMMENT ON COLUMN idempotency_keys.key IS 'As the client sent it; given up when the checkout fails, so that a repeat opens a new one';
COMMENT ON COLUMN idempotency_keys.checkout_id IS 'What it was answered with';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When it was first sent';
INSERT INTO idempotency_keys (user_id, key, checkout_id, created_at)
    SELECT user_id, idempotency_key, id, created_at FROM checkouts WHERE idempotency_key IS NOT NULL;
COMMENT ON COLUMN checkouts.idempotency_key IS 'Written by replicas of the version before 0002 alone, which may run beside us while we are rolled out; a later migration drops it';
COMMENT ON COLUMN checkouts.next_repair_at IS 'When the worker may look (again): for a missing session or an overdue one while it is open, at a first payment that failed for good once it is complete';
-- A member's checkouts: her habitual currency, her customers at Stripe.
CREATE INDEX checkouts_user ON checkouts (user_id, created_at DESC);

ALTER TABLE subscriptions
    ADD COLUMN upgrade_group text,
    ADD COLUMN quantity_open boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX subscriptions_group ON subscriptions (user_id, upgrade_group)
    WHERE single AND upgrade_group IS NOT NULL AND status <> 'ENDED';
COMMENT ON COLUMN subscriptions.plan IS 'The plan''s code; it changes when the subscription at Stripe moves to the price of another plan';
COMMENT ON COLUMN subscriptions.kind IS 'The plan''s kind';
COMMENT ON COLUMN subscriptions.quantity IS 'How many, as ordered or as Stripe has told since';
COMMENT ON COLUMN subscriptions.stripe_price_id IS 'price_… that is sold; of a recurring one as the newest snapshot says, whether a plan has it or not';
COMMENT ON COLUMN subscriptions.upgrade_group IS 'The plan''s upgrade group: of single plans of one group a user may hold one that has not ended';
COMMENT ON COLUMN subscriptions.quantity_open IS 'Whether the buyer could change the quantity on Stripe''s page, and the completed session has not been read yet';

ALTER TABLE status_changes
    ADD COLUMN from_plan text,
    ADD COLUMN to_plan text,
    ADD COLUMN from_quantity integer,
    ADD COLUMN to_quantity integer,
    DROP CONSTRAINT status_changes_check,
    ADD CONSTRAINT status_changes_something CHECK (
        from_status IS DISTINCT FROM to_status OR from_plan <> to_plan OR from_quantity <> to_quantity),
    ADD CHECK ((from_plan IS NULL) = (to_plan IS NULL)),
    ADD CHECK ((from_quantity IS NULL) = (to_quantity IS NULL));
COMMENT ON COLUMN status_changes.from_plan IS 'Of a change of plan: the plan before';
COMMENT ON COLUMN status_changes.to_plan IS 'Of a change of plan: the plan from then on';
COMMENT ON COLUMN status_changes.from_quantity IS 'Of a change of quantity: how many before';
COMMENT ON COLUMN status_changes.to_quantity IS 'Of a change of quantity: how many from then on';
