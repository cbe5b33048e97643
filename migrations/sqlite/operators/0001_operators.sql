-- operators.db: who may use the admin API besides the holder of the admin token. No token is in
-- here: hashes are SHA-256 of 256 random bits. Times are nanoseconds since 1970, ids the 26
-- characters of a ULID. Who changed what is in policies.db's trail.
CREATE TABLE operators (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  role       INTEGER NOT NULL CHECK (role IN (1, 2, 3)),   -- viewer, approver, admin
  token_hash BLOB NOT NULL CHECK (length(token_hash) = 32),
  display    TEXT NOT NULL,                                -- what may be shown of the token
  state      INTEGER NOT NULL CHECK (state IN (1, 2, 3)),  -- active, disabled, deleted
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  deleted_at INTEGER CHECK ((deleted_at IS NULL) = (state <> 3))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX operators_token ON operators (token_hash);
-- A name that was deleted may be used again: the trail tells two of one name apart by their times.
CREATE UNIQUE INDEX operators_name ON operators (name) WHERE state <> 3;
