-- All that must be known of a member before a checkout of hers is recorded.
--
-- $1 user   $2 the client's idempotency key   $3 the plan that begins with a trial   $4 its upgrade group
SELECT -- Currencies in which she has bought or begun to, the last used first.
       ARRAY (SELECT k.currency FROM customers k
               WHERE k.user_id = $1
               ORDER BY (SELECT max(c.created_at) FROM checkouts c WHERE c.user_id = $1 AND c.customer_id = k.id)
                        DESC NULLS LAST) AS currencies,
       -- The checkout that she opened with the key.
       (SELECT checkout_id FROM idempotency_keys WHERE user_id = $1 AND key = $2) AS repeated,
       (SELECT c.request_hash FROM idempotency_keys k
         CROSS JOIN LATERAL (SELECT request_hash FROM checkouts WHERE id = k.checkout_id OFFSET 0) AS c
         WHERE k.user_id = $1 AND k.key = $2) AS repeated_hash,
       -- Her open checkouts, newest first.
       ARRAY (SELECT id FROM checkouts WHERE user_id = $1 AND status = 'open' ORDER BY id DESC) AS open,
       ARRAY (SELECT request_hash FROM checkouts WHERE user_id = $1 AND status = 'open' ORDER BY id DESC) AS open_hashes,
       -- Kinds of which she holds something live: paid or about to be, and not ended.
       ARRAY (SELECT DISTINCT kind FROM subscriptions
               WHERE user_id = $1 AND status IN ('PENDING_COMPLETION', 'ACTIVE', 'CANCELLED', 'ON_HOLD')) AS kinds,
       -- Whether the plan on trial, or another of its group, was ever hers, or is about to be: of several pages that are open
       -- at once only the first begins with a trial.
       EXISTS (SELECT FROM subscriptions
                WHERE user_id = $1 AND (plan = $3 OR upgrade_group = $4) AND (first_paid_at IS NOT NULL OR status <> 'ENDED')) AS had
