-- What a key is given and how its calls may be served. Keys from before have their workspace's
-- package, no Codex adaptation, and may be served by a lesser model under pressure.
ALTER TABLE keys ADD COLUMN package TEXT NOT NULL DEFAULT '';  -- empty: the workspace's
ALTER TABLE keys ADD COLUMN codex_adaptation INTEGER NOT NULL DEFAULT 0
  CHECK (codex_adaptation IN (0, 1));
ALTER TABLE keys ADD COLUMN allow_downgrade INTEGER NOT NULL DEFAULT 1
  CHECK (allow_downgrade IN (0, 1));
