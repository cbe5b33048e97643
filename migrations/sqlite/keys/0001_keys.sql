-- keys.db: API keys and who changed them. No secret is in here: digests are HMAC-SHA-256 under a
-- pepper that is kept elsewhere. Times are nanoseconds since 1970, ids the 26 characters of a ULID.

CREATE TABLE keys (
  id                   TEXT PRIMARY KEY,
  name                 TEXT NOT NULL,
  display              TEXT NOT NULL,
  digest               BLOB NOT NULL CHECK (length(digest) = 32),
  previous_digest      BLOB CHECK (length(previous_digest) = 32),
  previous_valid_until INTEGER CHECK ((previous_valid_until IS NULL) = (previous_digest IS NULL)),
  state                INTEGER NOT NULL CHECK (state IN (1, 2, 3)),  -- active, disabled, revoked
  environment          TEXT NOT NULL,
  permissions          TEXT NOT NULL,  -- one a line
  models               TEXT NOT NULL,  -- one a line; empty: all
  expires_at           INTEGER,
  workspace            TEXT NOT NULL,
  requests_per_minute  INTEGER NOT NULL,
  tokens_per_minute    INTEGER NOT NULL,
  concurrent_requests  INTEGER NOT NULL,
  budget_nano_usd      INTEGER,        -- NULL: no cap
  created_at           INTEGER NOT NULL,
  rotated_at           INTEGER,
  revoked_at           INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX keys_digest ON keys (digest);
-- A revoked key gives its name free, so that a leaked key's successor can have it.
CREATE UNIQUE INDEX keys_name ON keys (name) WHERE state <> 3;

CREATE TABLE key_audit (
  sequence INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  key_id   TEXT NOT NULL,
  actor    TEXT NOT NULL,
  action   TEXT NOT NULL,
  detail   TEXT NOT NULL
) STRICT;

-- What the digests above were made with, without telling: HMAC(pepper, a fixed text).
CREATE TABLE pepper_proof (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  proof    BLOB NOT NULL CHECK (length(proof) = 32)
) STRICT;
