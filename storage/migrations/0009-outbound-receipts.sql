-- For whoever sends receipts of all rooms to other servers.
CREATE INDEX receipts_by_stream ON receipts (position);
