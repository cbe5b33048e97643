-- Replies of requests with an Idempotency-Key, kept for a day to be sent again. What is lost here is
-- never paid twice: the ledger knows the keys, this file only the bytes.
CREATE TABLE reply (
  request BLOB PRIMARY KEY CHECK (length(request) = 16),  -- begins with its time
  status INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  content_type TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
