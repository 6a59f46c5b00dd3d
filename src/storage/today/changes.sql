next AS MATERIALIZED (
    -- Changes that are not counted yet.
    SELECT h.* FROM walk w CROSS JOIN LATERAL (
        SELECT seq, subscription_id, (at AT TIME ZONE 'UTC')::date AS day, from_plan, to_plan,
               coalesce(from_status IN ('ACTIVE', 'CANCELLED'), false) AS was_in,
               to_status IN ('ACTIVE', 'CANCELLED') AS is_in
          FROM status_changes WHERE seq > w.done AND seq <= w.upto ORDER BY seq LIMIT w.most) AS h
), moves AS MATERIALIZED (
    -- What they do to the number of those in force. On which plan a line was when only its status changed: on the one that
    -- its next change of plan left, or else on the one that it has now.
    SELECT coalesce((SELECT l.from_plan FROM status_changes l
                      WHERE l.subscription_id = n.subscription_id AND l.seq > n.seq AND l.from_plan IS NOT NULL
                      ORDER BY l.seq LIMIT 1),
                    (SELECT s.plan FROM subscriptions s WHERE s.id = n.subscription_id)) AS plan,
           n.day, CASE WHEN n.is_in THEN 1 ELSE -1 END AS net
      FROM next n WHERE n.was_in <> n.is_in AND n.from_plan IS NULL
    UNION ALL
    SELECT moved.plan, n.day, moved.net
      FROM next n CROSS JOIN LATERAL (VALUES (n.from_plan, -1), (n.to_plan, 1)) AS moved (plan, net)
     WHERE n.is_in AND n.from_plan IS NOT NULL
)