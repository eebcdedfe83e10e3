-- Events that are sticky (MSC4354), until they are no longer, and for a while after. position: that of the event; NULL
-- while it is soft-failed. is_own: 1 for those of our users. until_ts: in milliseconds since 1970.
CREATE TABLE sticky_events (
  event_nid {int} NOT NULL PRIMARY KEY,
  room_nid {int} NOT NULL,
  position {int},
  is_own {int} NOT NULL,
  until_ts {int} NOT NULL
) {strict};

CREATE INDEX sticky_events_by_room ON sticky_events (room_nid, position);
CREATE INDEX sticky_events_by_end ON sticky_events (until_ts);
