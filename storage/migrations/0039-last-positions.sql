-- The position at which it was last announced how a user is: who syncs from a later one on knows it. NULL: not known.
ALTER TABLE presence ADD COLUMN position {int};

-- To find the last one after a start.
CREATE INDEX key_signatures_by_position ON key_signatures (position);
