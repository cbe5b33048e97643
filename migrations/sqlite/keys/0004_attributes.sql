-- What policies tell requests of a key apart by: `dimension value`, one a line; and which of these
-- its requests may say of themselves without a signature: bits of config::Dimension, frozen. Keys
-- from before have neither.
ALTER TABLE keys ADD COLUMN attributes TEXT NOT NULL DEFAULT '';
ALTER TABLE keys ADD COLUMN metadata INTEGER NOT NULL DEFAULT 0;
