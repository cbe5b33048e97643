-- wallets.db: redeem codes, and who gave or took back what of which wallet. No balance is in here:
-- balances are the ledger's. No code is either: digests are HMAC-SHA-256 under the pepper. Times are
-- nanoseconds since 1970, ids the 26 characters of a ULID.

CREATE TABLE codes (
  id              TEXT PRIMARY KEY,  -- of the code, and of the grant that it makes
  batch           TEXT NOT NULL,     -- of those that were made together
  digest          BLOB NOT NULL CHECK (length(digest) = 32),
  display         TEXT NOT NULL,
  unit            INTEGER NOT NULL CHECK (unit IN (0, 1)),  -- nano-USD, quota tokens
  amount          INTEGER NOT NULL CHECK (amount > 0),
  category        INTEGER NOT NULL CHECK (category IN (0, 1, 2)),
  priority        INTEGER NOT NULL,
  valid_for       INTEGER,           -- of the grant, from the redemption on
  expires_at      INTEGER,           -- of the grant
  redeem_by       INTEGER,
  created_at      INTEGER NOT NULL,
  revoked_at      INTEGER,
  redeemed_at     INTEGER CHECK ((redeemed_at IS NULL) = (redeemed_wallet IS NULL)),
  redeemed_wallet TEXT,
  redeemed_key    TEXT,
  CHECK (valid_for IS NULL OR expires_at IS NULL)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX codes_digest ON codes (digest);
CREATE INDEX codes_batch ON codes (batch);

CREATE TABLE wallet_audit (
  sequence INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  subject  TEXT NOT NULL,  -- "key:key_01J...", "workspace:acme", "grant_01J...", "batch_01J..."
  actor    TEXT NOT NULL,
  action   TEXT NOT NULL,
  detail   TEXT NOT NULL
) STRICT;
