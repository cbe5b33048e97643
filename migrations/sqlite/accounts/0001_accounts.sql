-- accounts.db: accounts made at run time, what was set of those of the file, and who did it. A
-- credential is in here only as a sealed box (store/secret_box). Times are nanoseconds since 1970.

CREATE TABLE accounts (
  id                  TEXT PRIMARY KEY,  -- "upstream/name"
  upstream            TEXT NOT NULL,
  credential          BLOB,              -- sealed for this id; NULL: none is sent
  enabled             INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  draining            INTEGER NOT NULL CHECK (draining IN (0, 1)),
  models              TEXT NOT NULL,     -- one a line; empty: all
  capabilities        INTEGER NOT NULL,  -- bits of config::Capability
  weight              INTEGER NOT NULL,
  priority            INTEGER NOT NULL,
  concurrency         INTEGER NOT NULL,
  requests_per_minute INTEGER NOT NULL,
  tokens_per_minute   INTEGER NOT NULL,
  expires_at          INTEGER,
  reserved_for        TEXT NOT NULL,     -- one a line; empty: shared
  profile             INTEGER NOT NULL CHECK (profile IN (0, 1)),  -- openai_api, responses_strict
  proxy_host          TEXT NOT NULL,     -- empty: none
  proxy_port          INTEGER NOT NULL CHECK (proxy_port BETWEEN 0 AND 65535),
  created_at          INTEGER NOT NULL,
  changed_at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Of accounts of the file. NULL: as the file says.
CREATE TABLE account_overrides (
  id       TEXT PRIMARY KEY,
  enabled  INTEGER CHECK (enabled IN (0, 1)),
  draining INTEGER CHECK (draining IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE account_audit (
  sequence   INTEGER PRIMARY KEY,
  at         INTEGER NOT NULL,
  account_id TEXT NOT NULL,
  actor      TEXT NOT NULL,
  action     TEXT NOT NULL,
  detail     TEXT NOT NULL
) STRICT;
