-- What operators did, and what became of it: each act is written before its effect, and its outcome after it.
--
--   started --> done | refused
--      |          ^
--      +--> unknown  (cut off, or Stripe did not answer; settled by reading, never repeated)

CREATE TABLE actions (
    id           uuid PRIMARY KEY,
    seq          bigint NOT NULL UNIQUE,
    at           timestamptz NOT NULL,
    actor        text NOT NULL CHECK (octet_length(actor) BETWEEN 1 AND 255),
    role         text NOT NULL CHECK (role IN ('reader', 'support', 'treasurer', 'operator')),
    request_id   text,
    request_hash bytea NOT NULL,
    verb         text NOT NULL CHECK (verb IN
        ('sync', 'refund', 'cancel', 'resume', 'settle', 'adopt', 'replay', 'dismiss', 'reveal')),
    subject      text NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 255),
    user_id      text CHECK (octet_length(user_id) BETWEEN 1 AND 255),
    target       text CHECK (octet_length(target) BETWEEN 1 AND 255),
    wanted       integer NOT NULL DEFAULT 1 CHECK (wanted > 0),
    reason       text CHECK (reason ~ '^[a-z][a-z0-9_]{0,39}$'),
    reference    text CHECK (reference ~ '^[A-Za-z0-9./_-]{1,40}$'),
    parent       uuid REFERENCES actions (id),
    state        text NOT NULL CHECK (state IN ('started', 'done', 'refused', 'unknown')),
    outcome      text CHECK (outcome ~ '^[a-z][a-z0-9_]{0,59}$'),
    found        integer CHECK (found >= 0),
    finished_at  timestamptz,
    CHECK ((state = 'started') = (outcome IS NULL)),
    CHECK (reason IS NOT NULL OR verb = 'reveal')
);
-- Of one payment (or open invoice) only one act that moves money is under way, whoever asks.
CREATE UNIQUE INDEX actions_money ON actions (target)
    WHERE verb IN ('refund', 'settle') AND state IN ('started', 'unknown');
-- Looking at somebody's name is told once an hour.
CREATE UNIQUE INDEX actions_revealed ON actions (actor, subject, date_trunc('hour', at AT TIME ZONE 'UTC'))
    WHERE verb = 'reveal';
CREATE INDEX actions_open ON actions (at) WHERE state IN ('started', 'unknown');
CREATE INDEX actions_subject ON actions (subject, seq DESC);
CREATE INDEX actions_user ON actions (user_id, seq DESC) WHERE user_id IS NOT NULL;
CREATE INDEX actions_actor ON actions (actor, seq DESC);
COMMENT ON TABLE actions IS 'What operators did, each once: no amounts, no names, no prose';
COMMENT ON COLUMN actions.id IS 'The client''s Idempotency-Key; also in the metadata of what it made at Stripe';
COMMENT ON COLUMN actions.seq IS 'Of its beginning in action_log: the order in which they were begun';
COMMENT ON COLUMN actions.actor IS 'The sub of the operator''s token';
COMMENT ON COLUMN actions.role IS 'By which of her roles she could';
COMMENT ON COLUMN actions.request_id IS 'Of the request, as in the log; null for a command';
COMMENT ON COLUMN actions.request_hash IS 'HMAC of what was asked, by a key that is not in here: tells a repeat from another request';
COMMENT ON COLUMN actions.verb IS 'What was done; reveal: a name was looked at';
COMMENT ON COLUMN actions.subject IS 'To what: a subscription of ours, sub_…, evt_… or a user id';
COMMENT ON COLUMN actions.user_id IS 'The member whom it concerns, where one is known';
COMMENT ON COLUMN actions.target IS 'At Stripe, where money is moved: the payment of a refund, the invoice that is settled; of a cancellation which end was asked for, now or period_end';
COMMENT ON COLUMN actions.wanted IS 'How many effects at Stripe it consists of: a refund of several lines is one for each';
COMMENT ON COLUMN actions.reason IS 'A code of console.reasons';
COMMENT ON COLUMN actions.reference IS 'A ticket, minute or voucher';
COMMENT ON COLUMN actions.parent IS 'The refund with which a cancellation was asked for';
COMMENT ON COLUMN actions.state IS 'started: its effect may be under way; unknown: nobody knows yet whether it has happened';
COMMENT ON COLUMN actions.outcome IS 'A code: what came of it, or why not';
COMMENT ON COLUMN actions.found IS 'Of those wanted, how many have happened, as far as is known';

CREATE TABLE action_log (
    seq       bigint PRIMARY KEY,
    action_id uuid NOT NULL REFERENCES actions (id),
    state     text NOT NULL,
    outcome   text,
    found     integer,
    at        timestamptz NOT NULL,
    hash      bytea NOT NULL CHECK (octet_length(hash) = 32)
);
CREATE INDEX action_log_action ON action_log (action_id, seq);
COMMENT ON TABLE action_log IS 'The chain: a row when an action begins, one for each outcome, each hashed over the one before';
COMMENT ON COLUMN action_log.hash IS 'SHA-256 over the hash before, this row and, at its beginning, all of the action';

-- A sequence would leave gaps; this row is locked in the short transaction of one entry alone.
CREATE TABLE action_head (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq  bigint NOT NULL,
    hash bytea NOT NULL
);
INSERT INTO action_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));
COMMENT ON TABLE action_head IS 'The last entry of the chain: one row';

CREATE FUNCTION refuse_rewriting_actions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'actions' THEN
        IF to_jsonb(OLD) - ARRAY['state', 'outcome', 'found', 'finished_at']
         = to_jsonb(NEW) - ARRAY['state', 'outcome', 'found', 'finished_at']
           AND OLD.state IN ('started', 'unknown')
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'what operators did is kept as it was: % of % is refused', TG_OP, TG_TABLE_NAME;
END $$;
CREATE TRIGGER actions_kept BEFORE UPDATE OR DELETE ON actions
    FOR EACH ROW EXECUTE FUNCTION refuse_rewriting_actions();
CREATE TRIGGER actions_not_emptied BEFORE TRUNCATE ON actions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_actions();
CREATE TRIGGER action_log_kept BEFORE UPDATE OR DELETE ON action_log
    FOR EACH ROW EXECUTE FUNCTION refuse_rewriting_actions();
CREATE TRIGGER action_log_not_emptied BEFORE TRUNCATE ON action_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_rewriting_actions();
