-- Read receipts, public and private. thread_id is '' for an unthreaded receipt.
CREATE TABLE receipts (
  room_nid {int} NOT NULL,
  user_id {text} NOT NULL,
  receipt_type {text} NOT NULL,
  thread_id {text} NOT NULL,
  event_id {text} NOT NULL,
  ts {int} NOT NULL,
  position {int} NOT NULL,
  PRIMARY KEY (room_nid, user_id, receipt_type, thread_id)
) {strict};

CREATE INDEX receipts_by_position ON receipts (room_nid, position);
