-- For how long an event that is sent later is to be sticky, in milliseconds; NULL for one that is not.
ALTER TABLE delayed_events ADD COLUMN sticky_ms {int};
