-- Who is told what has changed, and how far each of them has been told.

CREATE TABLE followers (
    name            text PRIMARY KEY,
    kind            text NOT NULL,
    state           text NOT NULL CHECK (state IN ('snapshot', 'following')),
    stopped         boolean NOT NULL DEFAULT false,
    position        bigint NOT NULL CHECK (position >= 0),
    snapshot_after  uuid,
    lease_token     uuid,
    lease_until     timestamptz,
    attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz,
    last_success_at timestamptz,
    last_error      text,
    last_error_at   timestamptz,
    compared_at     timestamptz,
    created_at      timestamptz NOT NULL
);
COMMENT ON TABLE followers IS 'Systems that are told of each change, as config/followers.toml names them; one that stands there no longer keeps its place';
COMMENT ON COLUMN followers.name IS 'As in the file';
COMMENT ON COLUMN followers.kind IS 'webhook, mosaic or discourse';
COMMENT ON COLUMN followers.state IS 'snapshot: what is in force is told first; following: the feed';
COMMENT ON COLUMN followers.stopped IS 'Nothing is told until a person says otherwise';
COMMENT ON COLUMN followers.position IS 'Of the feed: everything up to it is told, or waits with its member in followers_parked';
COMMENT ON COLUMN followers.snapshot_after IS 'The last subscription of the snapshot that is told';
COMMENT ON COLUMN followers.lease_token IS 'Of the process that tells: only who holds it moves the place';
COMMENT ON COLUMN followers.lease_until IS 'By the database''s clock: after it another process may take over';
COMMENT ON COLUMN followers.attempts IS 'Since the last success: how long to wait follows from it';
COMMENT ON COLUMN followers.next_attempt_at IS 'Until then nothing is told';
COMMENT ON COLUMN followers.last_error IS 'What went wrong last, in our words: no body of an answer';
COMMENT ON COLUMN followers.compared_at IS 'When all that is in force was last told or compared';

CREATE TABLE followers_parked (
    name            text NOT NULL REFERENCES followers (name) ON UPDATE CASCADE ON DELETE CASCADE,
    user_id         text NOT NULL,
    positions       bigint[] NOT NULL CHECK (cardinality(positions) > 0),
    attempts        integer NOT NULL,
    next_attempt_at timestamptz NOT NULL,
    last_error      text NOT NULL,
    since           timestamptz NOT NULL,
    PRIMARY KEY (name, user_id)
);
CREATE INDEX followers_parked_due ON followers_parked (name, next_attempt_at);
COMMENT ON TABLE followers_parked IS 'Members whose rows a follower refuses: theirs wait in order, those of the others are told';
COMMENT ON COLUMN followers_parked.positions IS 'What waits, in order; 0: what is in force of hers';
COMMENT ON COLUMN followers_parked.last_error IS 'Why the first of them was refused, in our words';

CREATE TABLE followers_sent (
    name     text NOT NULL REFERENCES followers (name) ON UPDATE CASCADE ON DELETE CASCADE,
    position bigint NOT NULL,
    PRIMARY KEY (name, position)
);
COMMENT ON TABLE followers_sent IS 'What is told already beyond a place, where the receiver can''t know a repeat';
