-- What clients of sliding sync were sent on each of their connections: JSON, see server/sliding-sync/sent-rooms.ts. Written
-- some time after it has changed: a connection that is not known in the state of its token begins anew.
CREATE TABLE sliding_connections (
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  conn_id {text} NOT NULL,
  used_ts {int} NOT NULL,
  content_json {text} NOT NULL,
  PRIMARY KEY (user_id, device_id, conn_id)
) {strict};

CREATE INDEX sliding_connections_by_use ON sliding_connections (used_ts);
