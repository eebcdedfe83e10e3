-- The last backup version that each user was given: they are 1, 2, ... and none is given twice.
CREATE TABLE key_backup_versions (
  user_id {text} PRIMARY KEY,
  last_version {int} NOT NULL
) {strict};

-- Backups of room keys. deleted: 1 while keys of a deleted one are still to be removed, after which the row goes too.
CREATE TABLE key_backups (
  backup_nid {id},
  user_id {text} NOT NULL,
  version {int} NOT NULL,
  algorithm {text} NOT NULL,
  auth_data_json {text} NOT NULL,
  etag {int} NOT NULL,
  key_count {int} NOT NULL,
  deleted {int} NOT NULL,
  UNIQUE (user_id, version)
) {strict};

CREATE INDEX key_backups_deleted ON key_backups (backup_nid) WHERE deleted = 1;

CREATE TABLE backed_up_keys (
  backup_nid {int} NOT NULL,
  room_id {text} NOT NULL,
  session_id {text} NOT NULL,
  first_message_index {int} NOT NULL,
  forwarded_count {int} NOT NULL,
  is_verified {int} NOT NULL,
  session_data_json {text} NOT NULL,
  PRIMARY KEY (backup_nid, room_id, session_id)
) {strict};
