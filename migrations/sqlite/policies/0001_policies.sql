-- policies.db: quota policies made at run time, who asked for more and who allowed it, and the trail
-- of who changed what of policies, approvals and operators. Times are nanoseconds since 1970, ids of
-- approvals the 26 characters of a ULID, amounts steps of the unit (config::StepsOf).

-- Every version there ever was, as the JSON it was written as.
CREATE TABLE policy_versions (
  id         TEXT NOT NULL,
  version    INTEGER NOT NULL CHECK (version > 0),
  json       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  operator   TEXT NOT NULL,
  state      INTEGER NOT NULL CHECK (state IN (1, 2)),  -- active, retired
  retired_at INTEGER CHECK ((retired_at IS NULL) = (state = 1)),
  PRIMARY KEY (id, version)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX policy_active ON policy_versions (id) WHERE state = 1;

CREATE TABLE approvals (
  id             TEXT PRIMARY KEY,
  policy         TEXT NOT NULL,
  counter        TEXT NOT NULL,     -- "team=growth"; empty: every counter of the policy
  unit           INTEGER NOT NULL,  -- config::QuotaUnit
  requester      TEXT NOT NULL,     -- an operator, or "key:NAME"
  reason         TEXT NOT NULL,
  asked_amount   INTEGER NOT NULL CHECK (asked_amount > 0),
  asked_duration INTEGER NOT NULL CHECK (asked_duration > 0),
  asked_from     INTEGER,           -- NULL: from the decision on
  asked_at       INTEGER NOT NULL,
  decide_by      INTEGER NOT NULL,
  state          INTEGER NOT NULL CHECK (state BETWEEN 1 AND 6),
                 -- requested, approved, active, denied, expired, ended
  decided_by     TEXT,
  decided_at     INTEGER,
  decision       TEXT NOT NULL DEFAULT '',
  amount         INTEGER,           -- granted
  starts_at      INTEGER,
  ends_at        INTEGER,
  rollback_owner TEXT NOT NULL DEFAULT '',
  ended_at       INTEGER,
  ended_by       TEXT,              -- NULL while not ended; empty: its time was over
  review         TEXT,
  reviewed_by    TEXT,
  reviewed_at    INTEGER,
  CHECK ((decided_at IS NULL) = (decided_by IS NULL)),
  CHECK ((amount IS NULL) = (starts_at IS NULL) AND (amount IS NULL) = (ends_at IS NULL)),
  CHECK (state NOT IN (2, 3, 6) OR amount IS NOT NULL),
  CHECK ((reviewed_at IS NULL) = (review IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX approvals_state ON approvals (state);

-- One chain over all rows: store/audit_chain.h has the form of the hash.
CREATE TABLE audit (
  seq       INTEGER PRIMARY KEY,    -- from 1, without gaps
  ts        INTEGER NOT NULL,
  actor     TEXT NOT NULL,
  action    TEXT NOT NULL,
  object    TEXT NOT NULL,          -- "policy:support-monthly", "approval:apr_01J...", "operator:bob"
  before    TEXT NOT NULL,
  after     TEXT NOT NULL,
  reason    TEXT NOT NULL,
  outcome   TEXT NOT NULL,
  prev_hash BLOB NOT NULL CHECK (length(prev_hash) = 32),
  hash      BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
-- The chain finds what is changed; these keep a careless hand from changing it.
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
