-- The ledger's journal: one row for each batch that was committed together. The records are those
-- of ledger/record.h, one behind the other; `chain` is SHA-256 over the chain of the row before, the
-- first position, the count and the records (store/sqlite_journal).
CREATE TABLE journal (
  first_position INTEGER PRIMARY KEY CHECK (first_position > 0),
  count INTEGER NOT NULL CHECK (count > 0),
  records BLOB NOT NULL,
  chain BLOB NOT NULL CHECK (length(chain) = 32)
) STRICT;
