-- What users have reported to the administrators: an event (room_id and event_id), a room (room_id) or a user (user_id).
-- Times are in milliseconds since 1970; resolved_ts is NULL while nobody has dealt with it, note is what they wrote.
CREATE TABLE reports (
  report_id {id},
  reporter {text} NOT NULL,
  room_id {text},
  event_id {text},
  user_id {text},
  reason {text},
  created_ts {int} NOT NULL,
  resolved_ts {int},
  note {text}
) {strict};

CREATE INDEX reports_by_reporter ON reports (reporter, resolved_ts);
CREATE INDEX reports_open ON reports (resolved_ts, report_id);
