-- Dues keeps foreign keys and lifecycle status. Amounts, prices, cards and personal data stay at Stripe.
--
-- A purchase:   checkout (basket) --< subscription (line) --< transaction, status change
--
--   PENDING_ACTIVATION --> PENDING_COMPLETION --> ACTIVE <--> ON_HOLD
--        |                      |                  |  ^          |
--        |                      |                  v  |          |
--        |                      |               CANCELLED        |
--        +----------------------+--------> ENDED <-+-------------+
--
-- The status is derived by domain::lifecycle from the facts beside it; nothing else may write it.

CREATE TABLE customers (
    id                 uuid PRIMARY KEY,
    user_id            text NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    currency           text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    generation         integer NOT NULL DEFAULT 1 CHECK (generation > 0),
    stripe_customer_id text UNIQUE,
    created_at         timestamptz NOT NULL,
    CONSTRAINT customers_user_currency UNIQUE (user_id, currency)
);
COMMENT ON TABLE customers IS 'The customer at Stripe of a user in one currency: Stripe locks a customer to one currency';
COMMENT ON COLUMN customers.id IS 'Part of the idempotency key with which the customer is created at Stripe';
COMMENT ON COLUMN customers.user_id IS 'The sub of the member''s token: opaque';
COMMENT ON COLUMN customers.currency IS 'ISO 4217, lower case as at Stripe';
COMMENT ON COLUMN customers.generation IS 'Raised when Stripe says that the customer is deleted, so that the next one gets a new idempotency key';
COMMENT ON COLUMN customers.stripe_customer_id IS 'cus_…; null until Stripe has answered';
COMMENT ON COLUMN customers.created_at IS 'When the user first bought in this currency';

CREATE TABLE checkouts (
    id                  uuid PRIMARY KEY,
    user_id             text NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    currency            text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    mode                text NOT NULL CHECK (mode IN ('payment', 'subscription')),
    status              text NOT NULL CHECK (status IN ('open', 'complete', 'expired', 'failed')),
    customer_id         uuid NOT NULL REFERENCES customers (id),
    stripe_customer_id  text,
    stripe_session_id   text CONSTRAINT checkouts_session UNIQUE,
    idempotency_key     text CHECK (octet_length(idempotency_key) BETWEEN 1 AND 255),
    request_hash        bytea NOT NULL,
    cancel_token_hash   bytea NOT NULL,
    cancel_requested_at timestamptz,
    expires_at          timestamptz NOT NULL,
    next_repair_at      timestamptz,
    created_at          timestamptz NOT NULL,
    CONSTRAINT checkouts_idempotency UNIQUE (user_id, idempotency_key)
);
CREATE INDEX checkouts_open ON checkouts (user_id) WHERE status = 'open';
CREATE INDEX checkouts_sweep ON checkouts (next_repair_at) WHERE status = 'open';
COMMENT ON TABLE checkouts IS 'One hosted Checkout Session at Stripe: lines that are paid together';
COMMENT ON COLUMN checkouts.id IS 'client_reference_id and idempotency key of the session at Stripe';
COMMENT ON COLUMN checkouts.user_id IS 'Who buys';
COMMENT ON COLUMN checkouts.currency IS 'Of all lines: ISO 4217, lower case';
COMMENT ON COLUMN checkouts.mode IS 'Of the session at Stripe: subscription when one line is recurring';
COMMENT ON COLUMN checkouts.status IS 'As Stripe says of the session; failed: no session was ever opened, nobody had its URL';
COMMENT ON COLUMN checkouts.customer_id IS 'Our row of the customer';
COMMENT ON COLUMN checkouts.stripe_customer_id IS 'The customer with whom the session was opened: it may have been replaced in customers since';
COMMENT ON COLUMN checkouts.stripe_session_id IS 'cs_…; null until Stripe has answered';
COMMENT ON COLUMN checkouts.idempotency_key IS 'The client''s; given up when the checkout fails, so that a repeat opens a new one';
COMMENT ON COLUMN checkouts.request_hash IS 'SHA-256 of the client''s request, keyed by the checkout''s id: tells a repeat from another request';
COMMENT ON COLUMN checkouts.cancel_token_hash IS 'SHA-256 of the random token in the cancel link';
COMMENT ON COLUMN checkouts.cancel_requested_at IS 'When the member went back from Stripe''s page; the checkout ends only when Stripe says expired';
COMMENT ON COLUMN checkouts.expires_at IS 'When Stripe will expire the session; fixed before the session is asked for, so that a retry is identical';
COMMENT ON COLUMN checkouts.next_repair_at IS 'When the sweep may look (again) for a missing session, or whether an overdue one has expired';
COMMENT ON COLUMN checkouts.created_at IS 'When the member asked';

CREATE TABLE subscriptions (
    id                       uuid PRIMARY KEY,
    checkout_id              uuid NOT NULL REFERENCES checkouts (id),
    position                 smallint NOT NULL CHECK (position BETWEEN 0 AND 9),
    user_id                  text NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    plan                     text NOT NULL,
    kind                     text NOT NULL CHECK (kind IN ('membership', 'top_up', 'share', 'donation')),
    provider                 text NOT NULL DEFAULT 'stripe' CHECK (provider IN ('stripe')),
    quantity                 integer NOT NULL CHECK (quantity > 0),
    single                   boolean NOT NULL,
    recurring                boolean NOT NULL,
    term                     text CHECK (term ~ '^P[0-9]+[DMY]$'),
    status                   text NOT NULL CHECK (status IN
        ('PENDING_ACTIVATION', 'PENDING_COMPLETION', 'ACTIVE', 'ON_HOLD', 'CANCELLED', 'ENDED')),
    status_reason            text NOT NULL,
    version                  bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    stripe_subscription_id   text CONSTRAINT subscriptions_stripe_subscription UNIQUE,
    stripe_price_id          text NOT NULL,
    stripe_line_item_id      text,
    stripe_payment_intent_id text,
    stripe_status            text CHECK (stripe_status IN ('incomplete', 'incomplete_expired', 'trialing',
        'active', 'past_due', 'canceled', 'unpaid', 'paused')),
    stripe_state_at          timestamptz,
    first_paid_at            timestamptz,
    last_paid_at             timestamptz,
    payment_failed_at        timestamptz,
    current_period_end       timestamptz,
    cancel_at                timestamptz,
    cancel_at_period_end     boolean NOT NULL DEFAULT false,
    collection_paused        boolean NOT NULL DEFAULT false,
    term_ends_at             timestamptz,
    ended_at                 timestamptz,
    refund_state             text NOT NULL DEFAULT 'none' CHECK (refund_state IN ('none', 'part', 'full')),
    refund_failed            boolean NOT NULL DEFAULT false,
    created_at               timestamptz NOT NULL,
    updated_at               timestamptz NOT NULL,
    CHECK ((stripe_status IS NULL) = (stripe_state_at IS NULL)),
    CHECK (recurring OR stripe_subscription_id IS NULL),
    CONSTRAINT subscriptions_checkout_plan UNIQUE (checkout_id, plan)
);
CREATE UNIQUE INDEX subscriptions_single ON subscriptions (user_id, plan) WHERE single AND status <> 'ENDED';
CREATE INDEX subscriptions_user ON subscriptions (user_id, id DESC);
CREATE INDEX subscriptions_payment_intent ON subscriptions (stripe_payment_intent_id)
    WHERE stripe_payment_intent_id IS NOT NULL;
CREATE INDEX subscriptions_unpaid ON subscriptions (id) WHERE status_reason = 'first_payment_failed';
CREATE INDEX subscriptions_term ON subscriptions (term_ends_at) WHERE term_ends_at IS NOT NULL AND status <> 'ENDED';
COMMENT ON TABLE subscriptions IS 'The internal subscription: one line of a checkout, recurring or one-off';
COMMENT ON COLUMN subscriptions.id IS 'UUIDv7; in the metadata at Stripe';
COMMENT ON COLUMN subscriptions.checkout_id IS 'The basket in which it was bought';
COMMENT ON COLUMN subscriptions.position IS 'The line''s place in the basket, from 0';
COMMENT ON COLUMN subscriptions.user_id IS 'Whose it is; the checkout''s user, repeated for the index';
COMMENT ON COLUMN subscriptions.plan IS 'The plan''s code when it was bought';
COMMENT ON COLUMN subscriptions.kind IS 'The plan''s kind when it was bought';
COMMENT ON COLUMN subscriptions.provider IS 'Who settles it';
COMMENT ON COLUMN subscriptions.quantity IS 'How many were bought';
COMMENT ON COLUMN subscriptions.single IS 'Whether a user may hold only one of this plan that has not ended';
COMMENT ON COLUMN subscriptions.recurring IS 'Whether it renews: it then belongs to a subscription at Stripe';
COMMENT ON COLUMN subscriptions.term IS 'How long a one-off purchase lasts from its payment (ISO 8601: P1Y, P6M, P30D); null: for ever';
COMMENT ON COLUMN subscriptions.status IS 'Derived by domain::lifecycle from the facts in this row';
COMMENT ON COLUMN subscriptions.status_reason IS 'Why it has that status, as domain::lifecycle says';
COMMENT ON COLUMN subscriptions.version IS 'Raised by every write; a write is refused when the row has moved since it was read';
COMMENT ON COLUMN subscriptions.stripe_subscription_id IS 'sub_…, of the recurring line alone';
COMMENT ON COLUMN subscriptions.stripe_price_id IS 'price_… that was sold';
COMMENT ON COLUMN subscriptions.stripe_line_item_id IS 'li_… of the session';
COMMENT ON COLUMN subscriptions.stripe_payment_intent_id IS 'pi_… of a one-off payment';
COMMENT ON COLUMN subscriptions.stripe_status IS 'Stripe''s status of the subscription, from the newest snapshot';
COMMENT ON COLUMN subscriptions.stripe_state_at IS 'When Stripe made that snapshot, by Stripe''s clock';
COMMENT ON COLUMN subscriptions.first_paid_at IS 'The earliest payment known (a first invoice of zero counts); the API''s activated_at';
COMMENT ON COLUMN subscriptions.last_paid_at IS 'When the newest paid invoice of a recurring one was paid, as the invoice itself says';
COMMENT ON COLUMN subscriptions.payment_failed_at IS 'When the first payment failed for good, as a delayed debit does';
COMMENT ON COLUMN subscriptions.current_period_end IS 'Paid or billed until, from the newest snapshot';
COMMENT ON COLUMN subscriptions.cancel_at IS 'When Stripe will end it, from the newest snapshot';
COMMENT ON COLUMN subscriptions.cancel_at_period_end IS 'Whether it ends with its period, from the newest snapshot';
COMMENT ON COLUMN subscriptions.collection_paused IS 'Whether Stripe collects no payments for now (pause_collection), from the newest snapshot';
COMMENT ON COLUMN subscriptions.term_ends_at IS 'first_paid_at plus term';
COMMENT ON COLUMN subscriptions.ended_at IS 'When Stripe ended it';
COMMENT ON COLUMN subscriptions.refund_state IS 'How much of it was paid back: none, part or full';
COMMENT ON COLUMN subscriptions.refund_failed IS 'Whether a refund of its payment ever failed: its charge is then only read live';
COMMENT ON COLUMN subscriptions.created_at IS 'When the member asked';
COMMENT ON COLUMN subscriptions.updated_at IS 'The last write';

CREATE TABLE transactions (
    id                       uuid PRIMARY KEY,
    subscription_id          uuid NOT NULL REFERENCES subscriptions (id),
    kind                     text NOT NULL CHECK (kind IN ('payment', 'payment_failed', 'refund', 'dispute')),
    stripe_reference         text NOT NULL,
    stripe_payment_intent_id text,
    state                    text CHECK (state IN ('pending', 'succeeded', 'failed', 'open', 'won', 'lost')),
    payment_at               timestamptz,
    lost_at                  timestamptz,
    occurred_at              timestamptz NOT NULL,
    created_at               timestamptz NOT NULL,
    CHECK (CASE kind WHEN 'refund' THEN state IN ('pending', 'succeeded', 'failed')
                     WHEN 'dispute' THEN state IN ('open', 'won', 'lost')
                     ELSE state IS NULL END),
    CONSTRAINT transactions_reference UNIQUE (subscription_id, kind, stripe_reference)
);
CREATE INDEX transactions_stripe_reference ON transactions (stripe_reference);
CREATE INDEX transactions_payment_intent ON transactions (stripe_payment_intent_id)
    WHERE stripe_payment_intent_id IS NOT NULL;
COMMENT ON TABLE transactions IS 'References to payments, failed payments, refunds and disputes at Stripe; one row per payment and line, no amounts';
COMMENT ON COLUMN transactions.id IS 'UUIDv7';
COMMENT ON COLUMN transactions.subscription_id IS 'The line that it is for';
COMMENT ON COLUMN transactions.kind IS 'What happened';
COMMENT ON COLUMN transactions.stripe_reference IS 'payment: in_… or else pi_…; payment_failed: in_…#attempt or else pi_…; refund: re_…; dispute: its id';
COMMENT ON COLUMN transactions.stripe_payment_intent_id IS 'pi_…, when known: leads from a refund or dispute back to the line without asking Stripe';
COMMENT ON COLUMN transactions.state IS 'Of a refund: pending, succeeded, failed (it only moves on); of a dispute: open, won, lost, as last read from Stripe';
COMMENT ON COLUMN transactions.payment_at IS 'Of a dispute: when the disputed invoice was paid; a later payment takes its force away';
COMMENT ON COLUMN transactions.lost_at IS 'Of a lost dispute: the earliest time at which it is known to be lost';
COMMENT ON COLUMN transactions.occurred_at IS 'When it happened at Stripe: the earliest time that any source gives';
COMMENT ON COLUMN transactions.created_at IS 'When we learnt of it';

CREATE TABLE cursors (
    name       text PRIMARY KEY,
    position   text NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE cursors IS 'How far long walks have come, so that they go on where they stopped';
COMMENT ON COLUMN cursors.name IS 'Of the walk';
COMMENT ON COLUMN cursors.position IS 'What is done: a time or an id, as the walk understands it';
COMMENT ON COLUMN cursors.updated_at IS 'When it last came further';

CREATE TABLE webhook_events (
    id              text PRIMARY KEY,
    type            text NOT NULL,
    object_id       text NOT NULL,
    created         timestamptz NOT NULL,
    received_at     timestamptz NOT NULL,
    state           text NOT NULL CHECK (state IN ('applied', 'ignored', 'deferred', 'failed', 'flagged')),
    attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz,
    last_error      text,
    CHECK ((state = 'deferred') = (next_attempt_at IS NOT NULL))
);
CREATE INDEX webhook_events_deferred ON webhook_events (next_attempt_at) WHERE state = 'deferred';
CREATE INDEX webhook_events_unsettled ON webhook_events (state) WHERE state IN ('deferred', 'failed', 'flagged');
CREATE INDEX webhook_events_object ON webhook_events (object_id);
CREATE INDEX webhook_events_received ON webhook_events (received_at);
COMMENT ON TABLE webhook_events IS 'Events that concern our rows, each once; the payload stays at Stripe, which keeps it for 30 days';
COMMENT ON COLUMN webhook_events.id IS 'evt_…: the primary key is the guard against replays';
COMMENT ON COLUMN webhook_events.type IS 'As Stripe names it';
COMMENT ON COLUMN webhook_events.object_id IS 'The object that the event is about';
COMMENT ON COLUMN webhook_events.created IS 'When Stripe made it (whole seconds; never used to order)';
COMMENT ON COLUMN webhook_events.received_at IS 'When it first reached us';
COMMENT ON COLUMN webhook_events.state IS 'applied; ignored: it told nothing new; deferred: to be settled by reading Stripe; failed: that did not work; flagged: refused, a person should look';
COMMENT ON COLUMN webhook_events.attempts IS 'How often the worker has tried';
COMMENT ON COLUMN webhook_events.next_attempt_at IS 'When the worker takes it up (again)';
COMMENT ON COLUMN webhook_events.last_error IS 'Why it failed or was flagged, in words for an operator; never Stripe''s own text';

CREATE TABLE status_changes (
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES subscriptions (id),
    from_status     text,
    to_status       text NOT NULL,
    reason          text NOT NULL,
    cause           text NOT NULL CHECK (cause IN ('webhook', 'return', 'member', 'operator', 'reconcile', 'sweep')),
    cause_ref       text,
    actor           text,
    at              timestamptz NOT NULL,
    CHECK (from_status IS DISTINCT FROM to_status)
);
CREATE INDEX status_changes_subscription ON status_changes (subscription_id, seq);
COMMENT ON TABLE status_changes IS 'The append-only history of every subscription: a chain in which each from is the previous to';
COMMENT ON COLUMN status_changes.seq IS 'The order of the changes';
COMMENT ON COLUMN status_changes.subscription_id IS 'Whose status changed';
COMMENT ON COLUMN status_changes.from_status IS 'Null for the first';
COMMENT ON COLUMN status_changes.to_status IS 'The status from then on';
COMMENT ON COLUMN status_changes.reason IS 'What happened; it need not be the row''s reason';
COMMENT ON COLUMN status_changes.cause IS 'By which way we learnt of it';
COMMENT ON COLUMN status_changes.cause_ref IS 'The event''s or session''s id';
COMMENT ON COLUMN status_changes.actor IS 'The user id of the member or operator who did it, if a person did';
COMMENT ON COLUMN status_changes.at IS 'When we recorded it';

CREATE FUNCTION refuse_rewriting_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'status_changes is append-only';
END $$;
CREATE TRIGGER status_changes_append_only BEFORE UPDATE OR DELETE ON status_changes
    FOR EACH ROW EXECUTE FUNCTION refuse_rewriting_history();
