-- Records a purchase before Stripe hears of it: the member's customer in that currency, found or made, the checkout, its
-- lines with the first row of their history, and the client's key. What can't be is refused by the constraints.
--
-- $1 customer if it is new   $2 user   $3 currency   $4 now        $5 checkout      $6 mode       $7 request hash
-- $8 cancel token's hash     $9 expiry $10 first repair  $11 idempotency key   $12… lines   $24… their entries in the feed
WITH customer AS (
    -- The update that changes nothing gives the row also where another statement has just inserted it.
    INSERT INTO customers (id, user_id, currency, created_at) VALUES ($1::uuid, $2::text, $3::text, $4::timestamptz)
    ON CONFLICT ON CONSTRAINT customers_user_currency DO UPDATE SET currency = excluded.currency
    RETURNING id, generation, stripe_customer_id
), checkout AS (
    INSERT INTO checkouts (id, user_id, currency, mode, status, customer_id, request_hash, cancel_token_hash,
                           expires_at, next_repair_at, created_at)
    SELECT $5::uuid, $2::text, $3::text, $6::text, 'open', id, $7::bytea, $8::bytea, $9::timestamptz,
           $10::timestamptz, $4::timestamptz FROM customer
), key AS (
    INSERT INTO idempotency_keys (user_id, key, checkout_id, created_at)
    SELECT $2::text, $11::text, $5::uuid, $4::timestamptz WHERE $11::text IS NOT NULL
), line AS (
    INSERT INTO subscriptions (id, checkout_id, position, user_id, plan, kind, quantity, quantity_open, single,
                               upgrade_group, recurring, term, status, status_reason, stripe_price_id, created_at,
                               updated_at)
    SELECT n.id, $5::uuid, n.place - 1, $2::text, n.plan, n.kind, n.quantity, n.quantity_open, n.single, n.upgrade_group,
           n.recurring, n.term, n.status, n.status_reason, n.stripe_price_id, $4::timestamptz, $4::timestamptz
      FROM unnest($12::uuid[], $13::text[], $14::text[], $15::integer[], $16::boolean[], $17::boolean[],
                  $18::text[], $19::boolean[], $20::text[], $21::text[], $22::text[], $23::text[])
           WITH ORDINALITY
           AS n (id, plan, kind, quantity, quantity_open, single, upgrade_group, recurring, term, status,
                 status_reason, stripe_price_id, place)
    RETURNING id
), history AS (
    INSERT INTO status_changes (subscription_id, to_status, reason, cause, actor, at)
    SELECT n.id, n.status, n.status_reason, 'member', $2::text, $4::timestamptz
      FROM unnest($12::uuid[], $21::text[], $22::text[]) WITH ORDINALITY AS n (id, status, status_reason, place)
     ORDER BY n.place
), head AS (
    -- Last of all, for it is held until the commit.
    UPDATE feed_head SET position = position + (SELECT count(*) FROM line)
     WHERE one AND (SELECT count(*) FROM line) > 0
    RETURNING position - (SELECT count(*) FROM line) AS before
), entry AS (
    INSERT INTO feed (position, id, type, subscription_id, user_id, data, at)
    SELECT h.before + n.place, n.id, 'subscription.created', n.line, $2::text, n.data::jsonb, $4::timestamptz
      FROM unnest($24::uuid[], $12::uuid[], $25::text[]) WITH ORDINALITY AS n (id, line, data, place), head h
)
SELECT id, generation, stripe_customer_id FROM customer
