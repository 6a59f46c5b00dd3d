-- What a comparison has found is kept for whoever asks.

ALTER TABLE followers ADD COLUMN found text;
COMMENT ON COLUMN followers.found IS 'What a person should know of the last comparison, in our words; null: nothing';
