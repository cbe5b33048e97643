-- Exchanges in batches: a row holds those that the writer put down together and that began in the same
-- slot, 1,024 ms of their ids' time. Slots do not overlap, so reading them backwards gives the newest
-- exchange first without a row for each. The records are those of store/exchange_batch.
-- What is in `exchange` is moved over when the file is opened (store/request_log).
CREATE TABLE batch (
  slot INTEGER NOT NULL,
  count INTEGER NOT NULL CHECK (count > 0),
  records BLOB NOT NULL
) STRICT;
CREATE INDEX batch_slot ON batch (slot);
