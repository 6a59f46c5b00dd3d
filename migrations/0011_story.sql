-- What operators did about a payment is told in the story of whose it is.

CREATE INDEX actions_target ON actions (target, seq DESC) WHERE target IS NOT NULL;
