-- Servers that events are sent to. failures, failing_since and retry_at: the back-off, all 0 while the server
-- answers. txn_id and txn_upto: the transaction that was begun and not yet answered, and the last row of the outbox
-- that it holds. receipts_position: the server has every receipt up to this position.
CREATE TABLE destinations (
  server {text} NOT NULL PRIMARY KEY,
  failures {int} NOT NULL,
  failing_since {int} NOT NULL,
  retry_at {int} NOT NULL,
  txn_id {text},
  txn_upto {int},
  receipts_position {int} NOT NULL
) {strict};

-- Events that a server is still to get, in the order of seq. A row goes when the server has answered.
CREATE TABLE outbox (
  seq {id},
  server {text} NOT NULL,
  event_nid {int} NOT NULL
) {strict};

CREATE INDEX outbox_by_server ON outbox (server, seq);

-- What other servers have published about their signing keys. keys: [[key id, public key, expired_ts or null], ...];
-- document: the JSON that the server signed, to be passed on by a notary.
CREATE TABLE server_keys (
  server {text} NOT NULL PRIMARY KEY,
  keys {text} NOT NULL,
  document {text} NOT NULL,
  valid_until_ts {int} NOT NULL,
  fetched_ts {int} NOT NULL
) {strict};
