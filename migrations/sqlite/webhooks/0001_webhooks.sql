-- webhooks.db: the outbox. What happened, to whom it is told, and what became of that. No secret of
-- an endpoint is in here, and of its URL only a digest. Times are nanoseconds since 1970.

CREATE TABLE event (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id       TEXT NOT NULL UNIQUE,  -- "evt_01J...": the same thing offered twice is kept once
  type     TEXT NOT NULL,
  time     INTEGER NOT NULL,      -- when it happened
  data     TEXT NOT NULL          -- a JSON object
) STRICT;

CREATE TABLE delivery (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  event       INTEGER NOT NULL REFERENCES event (sequence),
  endpoint    TEXT NOT NULL,      -- its name in the configuration
  state       INTEGER NOT NULL CHECK (state IN (0, 1, 2, 3)),  -- pending, delivered, failed, disabled
  attempts    INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  created_at  INTEGER NOT NULL,
  next_at     INTEGER NOT NULL,   -- of the next attempt, while pending
  last_at     INTEGER,            -- of the last attempt
  last_status INTEGER NOT NULL DEFAULT 0,   -- its HTTP status; 0: no reply came
  last_error  TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX delivery_due ON delivery (endpoint, next_at, id) WHERE state = 0;
CREATE INDEX delivery_event ON delivery (event);

CREATE TABLE endpoint (
  name            TEXT PRIMARY KEY,
  url_digest      BLOB NOT NULL CHECK (length(url_digest) = 32),  -- SHA-256
  disabled_at     INTEGER,  -- it answered 410 Gone
  failing_since   INTEGER,  -- a delivery was given up, and none arrived after that
  erring_since    INTEGER,  -- the last attempt failed; the first that did since one arrived
  last_success_at INTEGER,
  last_at         INTEGER,
  last_status     INTEGER NOT NULL DEFAULT 0,
  last_error      TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

-- Up to which position of the ledger's journal its alerts are in here. No row: up to none.
CREATE TABLE journal_cursor (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  position INTEGER NOT NULL CHECK (position >= 0)
) STRICT;
