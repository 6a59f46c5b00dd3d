-- Holds the sums against the rows, in one look at both: what is not counted yet belongs to the difference that is right
-- (changes.sql stands between). What is off, by a row that was edited by hand or a history that begins late, is made up for
-- today. Returns how many plans were off.
--
-- $1 today (UTC)
WITH walk AS MATERIALIZED (
    SELECT done, 9223372036854775807 AS upto, 20000::bigint AS most FROM in_force_walk WHERE one FOR UPDATE
), 