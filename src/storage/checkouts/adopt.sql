-- Records what another system sold at Stripe: the member's customer in that currency, found or made, a checkout that has no
-- session, and its line with the first row of its history. What can't be is refused by the constraints.
--
-- $1 customer if it is new   $2 user   $3 currency   $4 cus_…   $5 now   $6 checkout   $7… line   $19 cause
-- $20 what it refers to      $21 entry in the feed   $22 what it says   $23 its origin
WITH customer AS (
    -- Whoever buys here with another customer keeps that one; so does the customer who stands in a row already.
    INSERT INTO customers (id, user_id, currency, stripe_customer_id, created_at)
    SELECT $1::uuid, $2::text, $3::text,
           CASE WHEN NOT EXISTS (SELECT FROM customers WHERE stripe_customer_id = $4::text) THEN $4::text END,
           $5::timestamptz
    ON CONFLICT ON CONSTRAINT customers_user_currency
       DO UPDATE SET stripe_customer_id = coalesce(customers.stripe_customer_id, excluded.stripe_customer_id)
    RETURNING id
), checkout AS (
    INSERT INTO checkouts (id, user_id, currency, mode, status, customer_id, stripe_customer_id, request_hash,
                           cancel_token_hash, expires_at, created_at)
    SELECT $6::uuid, $2::text, $3::text, 'adopted', 'complete', id, $4::text, '', '', $5::timestamptz, $5::timestamptz
      FROM customer
), line AS (
    INSERT INTO subscriptions (id, checkout_id, position, user_id, plan, kind, quantity, single, upgrade_group,
                               recurring, status, status_reason, stripe_price_id, stripe_subscription_id, external_id,
                               created_at, updated_at)
    VALUES ($7::uuid, $6::uuid, 0, $2::text, $8::text, $9::text, $10::integer, $11::boolean, $12::text, true, $13::text,
            $14::text, $15::text, $16::text, $17::text, $18::timestamptz, $5::timestamptz)
    RETURNING id
), history AS (
    INSERT INTO status_changes (subscription_id, to_status, reason, cause, cause_ref, at)
    VALUES ($7::uuid, $13::text, $14::text, $19::text, $20::text, $5::timestamptz)
), head AS (
    -- Last of all, for it is held until the commit.
    UPDATE feed_head SET position = position + (SELECT count(*) FROM line)
     WHERE one AND (SELECT count(*) FROM line) > 0
    RETURNING position
)
INSERT INTO feed (position, id, type, subscription_id, user_id, data, origin, at)
SELECT position, $21::uuid, 'subscription.created', $7::uuid, $2::text, $22::text::jsonb, $23::text, $5::timestamptz
  FROM head
