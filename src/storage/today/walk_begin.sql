-- Counts the next changes of what is in force, by plan and day (UTC); changes.sql stands between. The walk's row is locked:
-- one look at a time.
--
-- $1 at most so many changes
WITH walk AS MATERIALIZED (
    SELECT done, seen AS upto, $1::bigint AS most FROM in_force_walk WHERE one FOR UPDATE
), 