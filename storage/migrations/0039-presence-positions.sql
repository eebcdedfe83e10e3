-- The position at which it was last announced how a user is: who syncs from a later one on knows it. NULL: not known.
ALTER TABLE presence ADD COLUMN position {int};
