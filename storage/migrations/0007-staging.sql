-- Events of other servers that have been answered for and not yet received into their room, in the order of seq.
CREATE TABLE staged_events (
  seq {id},
  room_id {text} NOT NULL,
  event_id {text} NOT NULL UNIQUE,
  origin {text} NOT NULL,
  json {text} NOT NULL
) {strict};

CREATE INDEX staged_events_by_room ON staged_events (room_id, seq);

-- How transactions of other servers were answered, for when one is sent again.
CREATE TABLE inbound_transactions (
  origin {text} NOT NULL,
  txn_id {text} NOT NULL,
  received_ts {int} NOT NULL,
  answer {text} NOT NULL,
  PRIMARY KEY (origin, txn_id)
) {strict};

CREATE INDEX inbound_transactions_by_time ON inbound_transactions (received_ts);
