-- outcomes.db: whether what came of an action of a user was accepted, as its callers say. The last row of
-- an action counts; those before it say what was said before. Times are nanoseconds since 1970, keys the
-- 26 characters of a ULID.
CREATE TABLE outcome (
  sequence INTEGER PRIMARY KEY,
  scope    TEXT NOT NULL,  -- whose action: the workspace of the key, or its name when it has none
  action   TEXT NOT NULL,
  accepted INTEGER NOT NULL CHECK (accepted IN (0, 1)),
  note     TEXT NOT NULL,
  key      TEXT NOT NULL,  -- that said so
  at       INTEGER NOT NULL
) STRICT;

CREATE INDEX outcome_action ON outcome (scope, action);
CREATE INDEX outcome_at ON outcome (at);
