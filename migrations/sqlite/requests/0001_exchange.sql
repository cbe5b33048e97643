-- One row for each exchange that ended (telemetry/exchange_record.h). Ids begin with their time, so
-- the primary key is also the order of the list. Money in nano-USD, times in microseconds.
-- No index by key: with many keys every row would dirty a page of its own there, which costs more than
-- all the rest; a list filtered by key reads backwards from the newest row instead.
CREATE TABLE exchange (
  request BLOB PRIMARY KEY CHECK (length(request) = 16),
  key BLOB,
  started_at_us INTEGER NOT NULL,
  ending INTEGER NOT NULL,
  refusal INTEGER NOT NULL,
  status INTEGER NOT NULL,
  operation TEXT NOT NULL,
  model TEXT NOT NULL,
  model_served TEXT NOT NULL,
  upstream TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  flags INTEGER NOT NULL,  -- 1 stream, 2 sandbox
  usage_source INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL,
  cached_input_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL,
  output_tokens INTEGER NOT NULL,
  reasoning_tokens INTEGER NOT NULL,
  held_nano_usd INTEGER NOT NULL,
  charged_nano_usd INTEGER NOT NULL,
  overrun_nano_usd INTEGER NOT NULL,
  total_us INTEGER NOT NULL,
  upstream_us INTEGER NOT NULL,
  first_byte_us INTEGER NOT NULL,
  durable_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
