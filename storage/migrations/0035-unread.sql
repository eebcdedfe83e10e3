-- What was counted of the unread events of a room, so that they are not read anew after a restart: JSON. Written now
-- and then; what came since is counted from there on.
CREATE TABLE unread_checkpoints (
  room_nid {int} NOT NULL,
  user_id {text} NOT NULL,
  content_json {text} NOT NULL,
  PRIMARY KEY (room_nid, user_id)
) {strict};

CREATE INDEX unread_checkpoints_by_user ON unread_checkpoints (user_id);
