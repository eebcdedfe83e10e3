-- The one row that says whose database this is.
CREATE TABLE server_identity (
  id {int} NOT NULL PRIMARY KEY,
  server_name {text} NOT NULL
) {strict};

-- Accounts of this server. An account without a password cannot sign in; a deactivated one never again.
CREATE TABLE users (
  user_id {text} NOT NULL PRIMARY KEY,
  password_hash {text},
  is_admin {int} NOT NULL,
  created_ts {int} NOT NULL,
  deactivated_ts {int},
  -- 1 while a deactivated user still has to leave rooms.
  leaving_rooms {int} NOT NULL
) {strict};

CREATE TABLE devices (
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  display_name {text},
  created_ts {int} NOT NULL,
  last_seen_ts {int},
  last_seen_ip {text},
  PRIMARY KEY (user_id, device_id)
) {strict};

-- Tokens are stored as hashes: who reads the database cannot use them.
CREATE TABLE access_tokens (
  token_hash {text} NOT NULL PRIMARY KEY,
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  created_ts {int} NOT NULL
) {strict};

CREATE INDEX access_tokens_by_device ON access_tokens (user_id, device_id);

-- Display name, avatar and any other field of a profile, as JSON.
CREATE TABLE profile_fields (
  user_id {text} NOT NULL,
  field {text} NOT NULL,
  value_json {text} NOT NULL,
  PRIMARY KEY (user_id, field)
) {strict};

-- room_id is '' for global account data.
CREATE TABLE account_data (
  user_id {text} NOT NULL,
  room_id {text} NOT NULL,
  type {text} NOT NULL,
  content_json {text} NOT NULL,
  position {int} NOT NULL,
  PRIMARY KEY (user_id, room_id, type)
) {strict};

CREATE INDEX account_data_by_position ON account_data (user_id, position);

CREATE TABLE filters (
  user_id {text} NOT NULL,
  filter_number {int} NOT NULL,
  filter_json {text} NOT NULL,
  PRIMARY KEY (user_id, filter_number)
) {strict};

CREATE TABLE registration_tokens (
  token_hash {text} NOT NULL PRIMARY KEY,
  uses_left {int} NOT NULL,
  created_ts {int} NOT NULL,
  expires_ts {int} NOT NULL
) {strict};
