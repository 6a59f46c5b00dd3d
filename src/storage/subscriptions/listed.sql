-- Which subscriptions of everybody a list shows, newest first, by kind, plan, provider, status and reason, alone or
-- together: whatever is asked for, it is read from one index (storage/subscriptions/listed.rs).
--
-- $1 kind  $2 plan  $3 provider  $4 status  $5 reason  $7 joined after  $9 before that id  $10 at most so many
WITH RECURSIVE held AS (
    -- Every combination that there is: from one to the next in one leap.
    (SELECT kind, plan, provider, status, status_reason FROM subscriptions
      WHERE kind >= '' ORDER BY kind, plan, provider, status, status_reason LIMIT 1)
    UNION ALL
    SELECT n.* FROM held h CROSS JOIN LATERAL (
        SELECT kind, plan, provider, status, status_reason FROM subscriptions s
         WHERE (s.kind, s.plan, s.provider, s.status, s.status_reason)
             > (h.kind, h.plan, h.provider, h.status, h.status_reason)
         ORDER BY kind, plan, provider, status, status_reason LIMIT 1) AS n
), listed (line, listed_at) AS MATERIALIZED (
    SELECT s.id, NULL::timestamptz FROM held h CROSS JOIN LATERAL (
        SELECT id FROM subscriptions
         WHERE kind = h.kind AND plan = h.plan AND provider = h.provider AND status = h.status
           AND status_reason = h.status_reason AND id < $9::uuid
--[ joined
           AND first_paid_at >= $7::timestamptz
--]
         ORDER BY id DESC LIMIT $10) AS s
     WHERE ($1::text IS NULL OR h.kind = $1) AND ($2::text IS NULL OR h.plan = $2)
       AND ($3::text IS NULL OR h.provider = $3) AND ($4::text IS NULL OR h.status = $4)
       AND ($5::text IS NULL OR h.status_reason = $5)
     ORDER BY s.id DESC LIMIT $10
)
