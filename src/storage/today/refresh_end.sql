, held AS (
    -- Every combination that there is, from one to the next in one leap, as for the lists.
    (SELECT kind, plan, provider, status, status_reason FROM subscriptions
      WHERE kind >= '' ORDER BY kind, plan, provider, status, status_reason LIMIT 1)
    UNION ALL
    SELECT n.* FROM held h CROSS JOIN LATERAL (
        SELECT kind, plan, provider, status, status_reason FROM subscriptions s
         WHERE (s.kind, s.plan, s.provider, s.status, s.status_reason)
             > (h.kind, h.plan, h.provider, h.status, h.status_reason)
         ORDER BY kind, plan, provider, status, status_reason LIMIT 1) AS n
), kinds AS MATERIALIZED (
    SELECT plan, min(kind) AS kind FROM held GROUP BY plan
), days AS MATERIALIZED (
    SELECT $4::date - n AS day FROM generate_series($5::integer - 1, 0, -1) AS n
), net AS MATERIALIZED (
    -- What lies before the history counts for its first day.
    SELECT plan, greatest(day, $4::date - $5::integer + 1) AS day, sum(net) AS net
      FROM (SELECT plan, day, net FROM in_force_days WHERE plan >= ''
             UNION ALL SELECT plan, day, net FROM moves WHERE plan IS NOT NULL) AS all_of_them
     GROUP BY 1, 2
), counts AS MATERIALIZED (
    SELECT p.plan, d.day, sum(coalesce(n.net, 0)) OVER (PARTITION BY p.plan ORDER BY d.day)::bigint AS count
      FROM (SELECT DISTINCT plan FROM net) AS p CROSS JOIN days d
      LEFT JOIN net n ON n.plan = p.plan AND n.day = d.day
), plans AS MATERIALIZED (
    SELECT plan, array_agg(count ORDER BY day) AS counts, max(count) FILTER (WHERE day = $4::date) AS last
      FROM counts GROUP BY plan
), on_hold AS (
    SELECT h.status_reason AS reason, sum(n.count)::bigint AS count
      FROM held h CROSS JOIN LATERAL (
           SELECT count(*) AS count FROM subscriptions
            WHERE kind = h.kind AND plan = h.plan AND provider = h.provider AND status = h.status
              AND status_reason = h.status_reason) AS n
     WHERE h.status = 'ON_HOLD' GROUP BY h.status_reason
)
INSERT INTO today AS t (counted_at, failed, flagged, deferred_too_long, parked, actions_unknown, ending, in_force,
                        on_hold, history)
SELECT $1,
       (SELECT count(*) FROM webhook_events
         WHERE state IN ('deferred', 'failed', 'flagged', 'ignored') AND state = 'failed'),
       (SELECT count(*) FROM webhook_events
         WHERE state IN ('deferred', 'failed', 'flagged', 'ignored') AND state = 'flagged'),
       (SELECT count(*) FROM webhook_events
         WHERE state IN ('deferred', 'failed', 'flagged', 'ignored') AND state = 'deferred' AND received_at < $2),
       (SELECT count(*) FROM followers_parked WHERE name >= ''),
       (SELECT count(*) FROM actions WHERE state IN ('started', 'unknown') AND at <= $1
           AND (state = 'unknown' OR at <= $1 - interval '5 minutes')),
       (SELECT count(*) FROM subscriptions
         WHERE status <> 'ENDED' AND (cancel_at IS NOT NULL OR cancel_at_period_end) AND cancel_at < $3)
     + (SELECT count(*) FROM subscriptions
         WHERE status <> 'ENDED' AND (cancel_at IS NOT NULL OR cancel_at_period_end) AND cancel_at IS NULL
           AND current_period_end < $3)
     + (SELECT count(*) FROM subscriptions
         WHERE term_ends_at IS NOT NULL AND status <> 'ENDED' AND NOT recurring AND term_ends_at < $3),
       (SELECT coalesce(jsonb_agg(jsonb_build_object('plan', p.plan, 'kind', k.kind, 'count', p.last)
                                  ORDER BY k.kind, p.plan), '[]')
          FROM plans p JOIN kinds k ON k.plan = p.plan WHERE p.last <> 0),
       (SELECT coalesce(jsonb_agg(jsonb_build_object('reason', reason, 'count', count) ORDER BY reason), '[]')
          FROM on_hold),
       (SELECT jsonb_build_object('days', (SELECT jsonb_agg(day ORDER BY day) FROM days),
                                  'plans', coalesce(jsonb_agg(jsonb_build_object('plan', plan, 'counts', to_jsonb(counts))
                                                              ORDER BY plan), '[]'))
          FROM plans)
ON CONFLICT (one) DO UPDATE
   SET counted_at = excluded.counted_at, failed = excluded.failed, flagged = excluded.flagged,
       deferred_too_long = excluded.deferred_too_long, parked = excluded.parked,
       actions_unknown = excluded.actions_unknown, ending = excluded.ending, in_force = excluded.in_force,
       on_hold = excluded.on_hold, history = excluded.history
 WHERE t.counted_at <= excluded.counted_at
