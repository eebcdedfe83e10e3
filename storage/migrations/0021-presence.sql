-- How users were when it was last written down: after a start those who do not come back are told to be gone.
-- last_active_ts: milliseconds since 1970; NULL where it is not known.
CREATE TABLE presence (
  user_id {text} NOT NULL PRIMARY KEY,
  state {text} NOT NULL,
  status_msg {text},
  last_active_ts {int}
) {strict};

CREATE INDEX presence_by_activity ON presence (last_active_ts);
