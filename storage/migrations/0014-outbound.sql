-- What the ledger and the catch-up need. txn_ts: the origin_server_ts of the transaction that was begun, for it is
-- repeated as it was. behind_after: the server missed so much that its events are no longer queued one by one; it is
-- brought up to date from this position of the timeline. NULL for a server that gets everything from the outbox.
-- delivered, refused: how many events the server has answered for, and how many of them it did not accept.
-- last_success_ts: when it last answered a transaction; 0 where it never did. clock_skew: by how many milliseconds
-- its clock was ahead of ours then. fault: why it does not take transactions, as JSON; NULL while it does.
ALTER TABLE destinations ADD COLUMN txn_ts {int} NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN behind_after {int};
ALTER TABLE destinations ADD COLUMN delivered {int} NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN refused {int} NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN last_success_ts {int} NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN clock_skew {int} NOT NULL DEFAULT 0;
ALTER TABLE destinations ADD COLUMN fault {text};

-- EDUs that a server must get, in the order of seq, each a JSON text. A later one with the same replace_key takes the
-- place of an earlier one that is not under way yet. in_flight: it is in the transaction that was begun.
CREATE TABLE edu_outbox (
  seq {id},
  server {text} NOT NULL,
  replace_key {text},
  edu {text} NOT NULL,
  queued_ts {int} NOT NULL,
  in_flight {int} NOT NULL DEFAULT 0
) {strict};

CREATE INDEX edu_outbox_by_server ON edu_outbox (server, seq);
CREATE INDEX edu_outbox_by_key ON edu_outbox (server, replace_key) WHERE replace_key IS NOT NULL;

-- The last events that a server did not accept, and what it said.
CREATE TABLE refused_events (
  seq {id},
  server {text} NOT NULL,
  event_nid {int} NOT NULL,
  reason {text} NOT NULL,
  refused_ts {int} NOT NULL
) {strict};

CREATE INDEX refused_events_by_server ON refused_events (server, seq);
