-- Events that users want sent later. txn: the device, endpoint and transaction id by which it was asked for, so that the
-- same request again is the same event. due_ts: when it is to be tried next; since_ts + delay_ms is when it was to be
-- sent. finalised_ts is NULL while it waits; then event_id says as what it was sent, error why it was not, and neither
-- that it was cancelled. Times are in milliseconds since 1970.
CREATE TABLE delayed_events (
  delay_id {text} NOT NULL PRIMARY KEY,
  user_id {text} NOT NULL,
  txn {text},
  room_id {text} NOT NULL,
  type {text} NOT NULL,
  state_key {text},
  content {text} NOT NULL,
  delay_ms {int} NOT NULL,
  since_ts {int} NOT NULL,
  due_ts {int} NOT NULL,
  finalised_ts {int},
  event_id {text},
  error {text}
) {strict};

CREATE UNIQUE INDEX delayed_events_by_txn ON delayed_events (user_id, txn);
CREATE INDEX delayed_events_by_user ON delayed_events (user_id, finalised_ts, due_ts);
CREATE INDEX delayed_events_due ON delayed_events (finalised_ts, due_ts, delay_id);
