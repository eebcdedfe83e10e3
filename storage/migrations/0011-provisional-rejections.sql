-- Events that are rejected as far as is known: by a state that another server told, or by an auth event that is so
-- itself. waits_for: an event whose arrival may change that.
CREATE TABLE provisional_rejections (
  event_nid {int} NOT NULL,
  waits_for {text} NOT NULL,
  PRIMARY KEY (event_nid, waits_for)
) {strict};

CREATE INDEX provisional_rejections_by_awaited ON provisional_rejections (waits_for);
