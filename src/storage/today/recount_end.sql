, net AS (
    SELECT plan, count(*) AS net FROM subscriptions
     WHERE kind >= '' AND status IN ('ACTIVE', 'CANCELLED') GROUP BY plan
    UNION ALL
    SELECT plan, -sum(net) FROM in_force_days WHERE plan >= '' GROUP BY plan
    UNION ALL
    SELECT plan, -net FROM moves
), wrong AS (
    INSERT INTO in_force_days AS held (plan, day, net)
    SELECT plan, $1::date, sum(net) FROM net
     WHERE plan IS NOT NULL AND (SELECT count(*) FROM next) < (SELECT most FROM walk)
     GROUP BY plan HAVING sum(net) <> 0 ORDER BY plan
    ON CONFLICT (plan, day) DO UPDATE SET net = held.net + excluded.net
    RETURNING 1
), noted AS (
    UPDATE in_force_walk SET recounted = $1 WHERE one AND (SELECT count(*) FROM walk) > 0
)
SELECT count(*) FROM wrong
