-- The checkouts that a group of events, or one question of ours, names; with their lines, and which events were seen.
-- Every part is a look-up by an index, so that no plan depends on how large a table is; only the parts are sent that
-- are asked for (storage/parts.rs).
--
-- $1 sessions (cs_…)   $2 subscriptions at Stripe (sub_…)   $3 checkouts   $4 lines
-- $5 payments (pi_…)   $6 invoices (in_…)                   $7 events (evt_…)   $8 names that other systems gave
WITH hit AS MATERIALIZED (
    SELECT NULL::uuid AS id WHERE false
    -- By foreign keys that the rows hold …
--[ sessions
    UNION SELECT id FROM checkouts WHERE stripe_session_id = ANY ($1::text[])
--]
--[ stripe_subscriptions
    UNION SELECT checkout_id FROM subscriptions WHERE stripe_subscription_id = ANY ($2::text[])
--]
    -- … by our own ids, which metadata names …
--[ checkouts
    UNION SELECT id FROM checkouts WHERE id = ANY ($3::uuid[])
--]
--[ lines
    UNION SELECT checkout_id FROM subscriptions WHERE id = ANY ($4::uuid[])
--]
    -- … or that other systems gave …
--[ external
    UNION SELECT checkout_id FROM subscriptions WHERE external_id = ANY ($8::text[])
--]
    -- … and by payments, of what was bought once or as they were recorded.
--[ payments
    UNION SELECT checkout_id FROM subscriptions WHERE stripe_payment_intent_id = ANY ($5::text[])
    UNION SELECT o.checkout_id
            FROM transactions t
           CROSS JOIN LATERAL (SELECT checkout_id FROM subscriptions WHERE id = t.subscription_id OFFSET 0) AS o
           WHERE t.kind = 'payment' AND t.stripe_payment_intent_id = ANY ($5::text[])
    UNION SELECT o.checkout_id
            FROM transactions t
           CROSS JOIN LATERAL (SELECT checkout_id FROM subscriptions WHERE id = t.subscription_id OFFSET 0) AS o
           WHERE t.kind = 'payment' AND t.stripe_reference = ANY ($6::text[])
--]
)
-- One row at least, for the events that were seen.
SELECT ARRAY (SELECT id FROM webhook_events WHERE id = ANY ($7::text[])) AS seen, basket.*
  FROM (SELECT 1) AS always
  LEFT JOIN (
       SELECT c.id AS checkout_id, c.user_id, c.mode, c.status AS session_status, c.stripe_session_id,
              coalesce(c.stripe_customer_id, (SELECT k.stripe_customer_id FROM customers k
                                               WHERE k.id = c.customer_id)) AS stripe_customer_id,
              c.cancel_requested_at, c.expires_at, c.created_at AS checkout_created_at,
              s.id, s.plan, s.kind, s.quantity, s.quantity_open, s.single, s.upgrade_group, s.recurring, s.term,
              s.status, s.status_reason, s.version, s.stripe_subscription_id, s.stripe_price_id,
              s.stripe_line_item_id, s.stripe_payment_intent_id, s.stripe_status, s.stripe_state_at,
              s.first_paid_at, s.last_paid_at, s.payment_failed_at, s.current_period_end, s.cancel_at,
              s.cancel_at_period_end, s.collection_paused, s.collection_void, s.paid_from, s.paid_until, s.excused_at,
              s.looked_at, s.term_ends_at, s.ended_at, s.refund_state,
              s.refund_failed, s.created_at, s.external_id, s.payments, s.disputes
         FROM hit
        CROSS JOIN LATERAL (SELECT * FROM checkouts WHERE id = hit.id OFFSET 0) AS c
        CROSS JOIN LATERAL (
              SELECT s.*,
                     -- Of the payments those that were asked for: they may be years of renewals.
                     coalesce(
--[ payments again
                         (SELECT jsonb_agg(jsonb_build_array(t.stripe_reference, t.stripe_payment_intent_id))
                            FROM transactions t
                           WHERE t.subscription_id = s.id AND t.kind = 'payment'
                             AND (t.stripe_payment_intent_id = ANY ($5) OR t.stripe_reference = ANY ($6))),
--]
                         NULL) AS payments,
                     (SELECT jsonb_agg(jsonb_build_object('reference', d.stripe_reference, 'state', d.state,
                                 'payment_intent', d.stripe_payment_intent_id, 'at', d.occurred_at,
                                 'payment_at', d.payment_at, 'lost_at', d.lost_at, 'part', d.part) ORDER BY d.stripe_reference)
                        FROM transactions d WHERE d.subscription_id = s.id AND d.kind = 'dispute') AS disputes
                FROM subscriptions s WHERE s.checkout_id = c.id OFFSET 0) AS s
        ORDER BY c.id, s.position
       ) AS basket ON true
