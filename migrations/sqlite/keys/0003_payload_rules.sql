-- What is set in the requests of a key where they are adapted: one rule a line, its path, a blank
-- and its value as JSON. Keys from before have none.
ALTER TABLE keys ADD COLUMN payload_rules TEXT NOT NULL DEFAULT '';
