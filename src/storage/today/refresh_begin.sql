-- Counts what the page of the day shows; changes.sql stands between.
--
-- $1 now  $2 events that came before have waited too long  $3 what ends before counts as ending  $4 today (UTC)
-- $5 how many days the history has
WITH RECURSIVE walk AS MATERIALIZED (
    SELECT done, 9223372036854775807 AS upto, 20000::bigint AS most FROM in_force_walk WHERE one
), 