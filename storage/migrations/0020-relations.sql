-- Events that others relate to by m.relates_to. The event itself may not be here: children can come first.
-- thread_events, thread_latest: how many events its thread has, and the position of the last; 0 and NULL without one.
CREATE TABLE relation_parents (
  parent_nid {id},
  room_nid {int} NOT NULL,
  event_id {text} NOT NULL,
  thread_events {int} NOT NULL,
  thread_latest {int},
  UNIQUE (room_nid, event_id)
) {strict};

CREATE INDEX relation_parents_by_thread ON relation_parents (room_nid, thread_latest) WHERE thread_events > 0;

-- Events in the timeline of a room that relate to another of it, and are not redacted. type, sender, position and
-- origin_server_ts are those of the event. can_replace: 1 where it says what could stand in the other's place.
CREATE TABLE relations (
  event_nid {int} NOT NULL PRIMARY KEY,
  parent_nid {int} NOT NULL,
  rel_type {text} NOT NULL,
  type {text} NOT NULL,
  sender {text} NOT NULL,
  position {int} NOT NULL,
  origin_server_ts {int} NOT NULL,
  can_replace {int} NOT NULL
) {strict};

CREATE INDEX relations_by_position ON relations (parent_nid, position);
CREATE INDEX relations_by_type ON relations (parent_nid, rel_type, position);
CREATE INDEX relations_by_sender ON relations (parent_nid, rel_type, sender, origin_server_ts);

-- Events that are there already are looked through after the start, from the newest to the oldest: whoever has many
-- of them need not wait for that. This is the newest that is still to be looked at.
INSERT INTO cursors (name, position) SELECT 'relations.unread', MAX(event_nid) FROM events HAVING MAX(event_nid) > 0;
