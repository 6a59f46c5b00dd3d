-- Writes a group of baskets with everything that was told about them: of each basket all of it, or, when one of its
-- lines has moved since it was read, nothing. Baskets are numbered from 1; what belongs to none has number 0.
--
-- An event that is recorded already undoes the whole statement (its primary key is violated), so that nothing is ever
-- told twice: the caller looks again and leaves it out. Only the parts are sent that have something to do
-- (storage/parts.rs).
--
-- $1 how many baskets   $2 now   $3… lines   $39… events   $47… checkouts   $53… transactions   $67… history   $79… feed   $85 its origin
WITH want AS MATERIALIZED (
    -- Every line of every basket: by which version it was read, how many lines its basket has, whether it has changed,
    -- and what it is to be.
    SELECT * FROM unnest($3::integer[], $4::integer[], $5::uuid[], $6::bigint[], $7::boolean[], $8::text[],
                         $9::text[], $10::boolean[], $11::text[], $12::integer[], $13::boolean[], $14::text[],
                         $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[],
                         $21::timestamptz[], $22::timestamptz[], $23::timestamptz[], $24::timestamptz[],
                         $25::timestamptz[], $26::timestamptz[], $27::boolean[], $28::boolean[], $29::timestamptz[],
                         $30::timestamptz[], $31::text[], $32::boolean[], $33::boolean[], $34::timestamptz[],
                         $35::timestamptz[], $36::timestamptz[], $37::timestamptz[], $38::timestamptz[])
           AS w (basket, size, id, version, changed, plan, kind, single, upgrade_group, quantity, quantity_open,
                 stripe_price_id, status, status_reason, stripe_subscription_id, stripe_line_item_id,
                 stripe_payment_intent_id, stripe_status, stripe_state_at, first_paid_at, last_paid_at,
                 payment_failed_at, current_period_end, cancel_at, cancel_at_period_end, collection_paused,
                 term_ends_at, ended_at, refund_state, refund_failed, collection_void, paid_from, paid_until,
                 excused_at, looked_at, look_due_at)
), locked AS MATERIALIZED (
    -- Those that stand still, in the order of their ids, so that two groups never wait for each other. Their place in
    -- the table is kept: whoever joined by id might be joined the other way round, by reading the whole table.
    SELECT w.*, s.place FROM want w
     CROSS JOIN LATERAL (SELECT ctid AS place FROM subscriptions
                          WHERE id = w.id AND version = w.version FOR UPDATE -- or skip
                        ) AS s
)
--[ opened
, opened AS MATERIALIZED (
    -- The checkouts that change too. They have no version, so one that somebody has written since this statement began
    -- has moved: the update below would not find it, for it sees the table as it was then.
    SELECT n.*, held.place,
           held.place IS DISTINCT FROM (SELECT ctid FROM checkouts WHERE id = n.id) AS moved
      FROM unnest($47::integer[], $48::uuid[], $49::text[], $50::text[], $51::text[], $52::timestamptz[])
           AS n (basket, id, status, stripe_session_id, stripe_customer_id, cancel_requested_at)
      LEFT JOIN LATERAL (SELECT ctid AS place FROM checkouts WHERE id = n.id FOR UPDATE -- or skip
                        ) AS held ON true
)
--]
, ready AS MATERIALIZED (
    -- ok[n]: all lines of basket n are locked. A list looked into by number costs nothing a row.
    SELECT ARRAY (SELECT n.basket IN (SELECT basket FROM locked GROUP BY basket, size HAVING count(*) = size)
--[ opened
                     AND n.basket NOT IN (SELECT basket FROM opened WHERE moved)
--]
                    FROM generate_series(1, $1::integer) AS n (basket) ORDER BY n.basket) AS ok
)
--[ event
, event AS (
    INSERT INTO webhook_events AS held (id, type, object_id, created, received_at, state, next_attempt_at, last_error)
    SELECT n.id, n.type, n.object_id, n.created, $2, n.state, n.next_attempt_at, n.last_error
      FROM unnest($39::integer[], $40::text[], $41::text[], $42::text[], $43::timestamptz[], $44::text[],
                  $45::timestamptz[], $46::text[])
           AS n (basket, id, type, object_id, created, state, next_attempt_at, last_error)
     WHERE n.basket = 0 OR (SELECT ok FROM ready)[n.basket]
     ORDER BY n.id
--]
--[ again
    -- Another try of the worker's counts on; somebody's wish begins anew.
    ON CONFLICT (id) DO UPDATE
       SET state = excluded.state, next_attempt_at = excluded.next_attempt_at, last_error = excluded.last_error,
           attempts = CASE WHEN held.state = 'deferred' THEN held.attempts ELSE 0 END
--]
--[ event
    RETURNING id
)
--]
--[ checkout
, checkout AS (
    UPDATE checkouts c SET status = n.status, stripe_session_id = n.stripe_session_id,
           stripe_customer_id = n.stripe_customer_id, cancel_requested_at = n.cancel_requested_at,
           next_repair_at = CASE WHEN n.status = 'open' THEN c.next_repair_at END
      FROM opened n
     WHERE c.ctid = n.place AND (SELECT ok FROM ready)[n.basket]
)
--]
--[ keys
, keys AS (
    -- A checkout that was never opened at Stripe gives its idempotency keys back.
    DELETE FROM idempotency_keys k
     USING unnest($47::integer[], $48::uuid[], $49::text[]) AS n (basket, id, status)
     CROSS JOIN LATERAL (SELECT ctid AS place FROM idempotency_keys
                          WHERE checkout_id = n.id AND n.status = 'failed' FOR UPDATE) AS held
     WHERE k.ctid = held.place AND (SELECT ok FROM ready)[n.basket]
)
--]
--[ line
, line AS (
    UPDATE subscriptions s SET version = s.version + 1, updated_at = $2, plan = n.plan, kind = n.kind,
           single = n.single, upgrade_group = n.upgrade_group, quantity = n.quantity,
           quantity_open = n.quantity_open, stripe_price_id = n.stripe_price_id, status = n.status,
           status_reason = n.status_reason, stripe_subscription_id = n.stripe_subscription_id,
           stripe_line_item_id = n.stripe_line_item_id, stripe_payment_intent_id = n.stripe_payment_intent_id,
           stripe_status = n.stripe_status, stripe_state_at = n.stripe_state_at, first_paid_at = n.first_paid_at,
           last_paid_at = n.last_paid_at, payment_failed_at = n.payment_failed_at,
           current_period_end = n.current_period_end, cancel_at = n.cancel_at,
           cancel_at_period_end = n.cancel_at_period_end, collection_paused = n.collection_paused,
           term_ends_at = n.term_ends_at, ended_at = n.ended_at, refund_state = n.refund_state,
           refund_failed = n.refund_failed, collection_void = n.collection_void, paid_from = n.paid_from,
           paid_until = n.paid_until, excused_at = n.excused_at, looked_at = n.looked_at,
           -- A look that comes too early only finds out when the next one is due: a renewal writes no index. One that is
           -- due already gives whoever looks at it now an hour.
           next_look_at = CASE WHEN n.look_due_at IS NOT NULL
                               THEN least(s.next_look_at, greatest(n.look_due_at, $2 + interval '1 hour')) END
      FROM locked n
     WHERE s.ctid = n.place AND n.changed AND (SELECT ok FROM ready)[n.basket]
    RETURNING s.id
)
--]
--[ money
, paid AS MATERIALIZED (
    SELECT * FROM unnest($53::integer[], $54::uuid[], $55::uuid[], $56::text[], $57::text[], $58::text[], $59::text[],
                         $60::timestamptz[], $61::timestamptz[], $62::timestamptz[], $63::boolean[], $64::uuid[],
                         $65::text[], $66::text[])
           WITH ORDINALITY
           AS n (basket, id, subscription_id, kind, stripe_reference, stripe_payment_intent_id, state, payment_at,
                 lost_at, occurred_at, part, entry_id, user_id, data, place)
), money AS (
    -- What is known already keeps its earliest time, learns its payment, and only moves on.
    INSERT INTO transactions AS held (id, subscription_id, kind, stripe_reference, stripe_payment_intent_id, state,
                                      payment_at, lost_at, occurred_at, part, created_at)
    SELECT n.id, n.subscription_id, n.kind, n.stripe_reference, n.stripe_payment_intent_id, n.state, n.payment_at,
           n.lost_at, n.occurred_at, n.part, $2
      FROM paid n
     WHERE (SELECT ok FROM ready)[n.basket]
    ON CONFLICT (subscription_id, kind, stripe_reference) DO UPDATE
       SET occurred_at = least(held.occurred_at, excluded.occurred_at),
           stripe_payment_intent_id = coalesce(held.stripe_payment_intent_id, excluded.stripe_payment_intent_id),
           state = CASE WHEN held.kind = 'refund' AND held.state = 'failed' THEN held.state
                        WHEN held.kind = 'refund' AND held.state = 'succeeded' AND excluded.state = 'pending'
                        THEN held.state ELSE excluded.state END,
           payment_at = excluded.payment_at, lost_at = excluded.lost_at, part = excluded.part
     WHERE held.occurred_at > excluded.occurred_at OR held.state IS DISTINCT FROM excluded.state
        OR held.payment_at IS DISTINCT FROM excluded.payment_at OR held.lost_at IS DISTINCT FROM excluded.lost_at
        OR held.part <> excluded.part
        OR (held.stripe_payment_intent_id IS NULL AND excluded.stripe_payment_intent_id IS NOT NULL)
    RETURNING id, subscription_id, kind, stripe_reference, state, xmax = 0 AS is_new
)
--]
--[ history
, history AS (
    -- In the order in which it was told: seq numbers the rows as they come.
    INSERT INTO status_changes (subscription_id, from_status, to_status, reason, from_plan, to_plan, from_quantity,
                                to_quantity, cause, cause_ref, actor, at)
    SELECT n.subscription_id, n.from_status, n.to_status, n.reason, n.from_plan, n.to_plan, n.from_quantity,
           n.to_quantity, n.cause, n.cause_ref, n.actor, $2
      FROM unnest($67::integer[], $68::uuid[], $69::text[], $70::text[], $71::text[], $72::text[], $73::text[],
                  $74::integer[], $75::integer[], $76::text[], $77::text[], $78::text[])
           WITH ORDINALITY
           AS n (basket, subscription_id, from_status, to_status, reason, from_plan, to_plan, from_quantity,
                 to_quantity, cause, cause_ref, actor, place)
     WHERE (SELECT ok FROM ready)[n.basket]
     ORDER BY n.place
)
--]
--[ feed
, told AS MATERIALIZED (
    SELECT n.id, n.type, n.subscription_id, n.user_id, NULL::uuid AS transaction_id, n.data, 1 AS part, n.place
      FROM unnest($79::integer[], $80::uuid[], $81::text[], $82::uuid[], $83::text[], $84::text[])
           WITH ORDINALITY AS n (basket, id, type, subscription_id, user_id, data, place)
     WHERE (SELECT ok FROM ready)[n.basket]
--]
--[ money of the feed
     UNION ALL
    -- Of what was known before, only another state is told: as the table was, it is the old one.
    SELECT n.entry_id, CASE WHEN m.is_new THEN 'transaction.recorded' ELSE 'transaction.updated' END,
           n.subscription_id, n.user_id, m.id, n.data, 2, n.place
      FROM money m
      JOIN paid n USING (subscription_id, kind, stripe_reference)
     WHERE m.is_new OR m.state IS DISTINCT FROM (SELECT t.state FROM transactions t WHERE t.id = m.id)
--]
--[ feed
), head AS (
    -- Last of all: whoever waits here has done everything else, and holds it until the commit.
    UPDATE feed_head SET position = position + (SELECT count(*) FROM told)
     WHERE one AND (SELECT count(*) FROM told) > 0
--]
--[ event
       AND (SELECT count(*) FROM event) >= 0
--]
--[ line
       AND (SELECT count(*) FROM line) >= 0
--]
--[ feed
    RETURNING position - (SELECT count(*) FROM told) AS before
), entry AS (
    INSERT INTO feed (position, id, type, subscription_id, user_id, transaction_id, data, origin, at)
    SELECT h.before + row_number() OVER (ORDER BY t.part, t.place), t.id, t.type, t.subscription_id, t.user_id,
           t.transaction_id, t.data::jsonb, $85::text, $2
      FROM told t, head h
)
--]
SELECT ok FROM ready
