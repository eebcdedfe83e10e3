-- sqlite only
-- The current state as its primary key alone: there is one tree less to write for each member of a room.
CREATE TABLE current_state_by_key (
  room_nid {int} NOT NULL,
  type {text} NOT NULL,
  state_key {text} NOT NULL,
  event_nid {int} NOT NULL,
  PRIMARY KEY (room_nid, type, state_key)
) STRICT, WITHOUT ROWID;

-- sqlite only
INSERT INTO current_state_by_key (room_nid, type, state_key, event_nid)
SELECT room_nid, type, state_key, event_nid FROM current_state ORDER BY room_nid, type, state_key;

-- sqlite only
DROP TABLE current_state;

-- sqlite only
ALTER TABLE current_state_by_key RENAME TO current_state;
