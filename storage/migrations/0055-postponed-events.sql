-- Staged events of which something could not be asked for: they have further turns, beside the line of their room.
-- turns: how many they have had, 0 in the line. turn_ts: when the next one comes. is_called: it comes at once.
ALTER TABLE staged_events ADD COLUMN turns {int} NOT NULL DEFAULT 0;
ALTER TABLE staged_events ADD COLUMN turn_ts {int} NOT NULL DEFAULT 0;
ALTER TABLE staged_events ADD COLUMN is_called {int} NOT NULL DEFAULT 0;

CREATE INDEX staged_events_postponed ON staged_events (room_id, seq) WHERE turns > 0;
CREATE INDEX staged_events_by_turn ON staged_events (turn_ts) WHERE turns > 0;
CREATE INDEX staged_events_by_origin ON staged_events (origin) WHERE turns > 0;
