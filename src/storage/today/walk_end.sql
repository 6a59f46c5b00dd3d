, counted AS (
    INSERT INTO in_force_days AS held (plan, day, net)
    SELECT plan, day, sum(net) FROM moves WHERE plan IS NOT NULL GROUP BY plan, day HAVING sum(net) <> 0
     ORDER BY plan, day
    ON CONFLICT (plan, day) DO UPDATE SET net = held.net + excluded.net
), moved AS (
    UPDATE in_force_walk w
       SET done = CASE WHEN (SELECT count(*) FROM next) < $1 THEN w.seen ELSE (SELECT max(seq) FROM next) END
     WHERE one AND (SELECT count(*) FROM walk) > 0
)
SELECT count(*) FROM next
