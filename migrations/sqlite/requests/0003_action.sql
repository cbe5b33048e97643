-- Which actions of users the batches of a slot have, so that one is found without decoding them all: a
-- row for each batch that has any, with their hashes (store/request_log, ActionHash), 4 bytes each, big
-- endian, sorted.
CREATE TABLE batch_action (
  slot INTEGER NOT NULL,
  hashes BLOB NOT NULL CHECK (length(hashes) > 0 AND length(hashes) % 4 = 0)
) STRICT;
CREATE INDEX batch_action_slot ON batch_action (slot);
