-- The position at which the user came to be joined: a new name or picture moves the position of a membership, not this.
ALTER TABLE memberships ADD COLUMN joined_position {int} NOT NULL DEFAULT 0;
UPDATE memberships SET joined_position = position;

-- stream_id: the number of the last m.device_list_update of one of our users, prev_stream_id that of the one before,
-- device_id the device it was about; 0 and NULL where there was none. Not used for users of other servers.
ALTER TABLE device_lists ADD COLUMN stream_id {int} NOT NULL DEFAULT 0;
ALTER TABLE device_lists ADD COLUMN prev_stream_id {int} NOT NULL DEFAULT 0;
ALTER TABLE device_lists ADD COLUMN device_id {text};

-- What is still to be told to other servers, in the order of seq: a device of one of our users that changed
-- (device_id), changed signing keys (neither), or that the user has joined a room (room_nid), at the
-- position that stands in stream_id.
CREATE TABLE outgoing_device_lists (
  seq {id},
  user_id {text} NOT NULL,
  device_id {text},
  stream_id {int} NOT NULL,
  prev_stream_id {int} NOT NULL,
  room_nid {int}
) {strict};

-- The cross-signing keys of our users. public_key is in unpadded Base64; usage is master, self_signing or user_signing.
CREATE TABLE cross_signing_keys (
  user_id {text} NOT NULL,
  usage {text} NOT NULL,
  public_key {text} NOT NULL,
  key_json {text} NOT NULL,
  PRIMARY KEY (user_id, usage)
) {strict};

-- Signatures that our users have put on keys, of their own or of others. target_id: a device id or a public key.
CREATE TABLE key_signatures (
  target_user_id {text} NOT NULL,
  target_id {text} NOT NULL,
  user_id {text} NOT NULL,
  key_id {text} NOT NULL,
  signature {text} NOT NULL,
  position {int} NOT NULL,
  PRIMARY KEY (target_user_id, target_id, user_id, key_id)
) {strict};

CREATE INDEX key_signatures_by_signer ON key_signatures (user_id, position);

-- What is known of the devices of users of other servers. position: the stream was here when they were asked for.
-- stream_id: of the last update that is in it; NULL where that is not known. stale: an update was missed since.
CREATE TABLE remote_device_lists (
  user_id {text} PRIMARY KEY,
  server_name {text} NOT NULL,
  stream_id {int},
  position {int} NOT NULL,
  stale {int} NOT NULL,
  master_key_json {text},
  self_signing_key_json {text}
) {strict};

CREATE INDEX remote_device_lists_stale ON remote_device_lists (server_name, user_id) WHERE stale = 1;

CREATE TABLE remote_devices (
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  keys_json {text} NOT NULL,
  PRIMARY KEY (user_id, device_id)
) {strict};

-- Messages to devices that other servers have handed over: each is taken once.
CREATE TABLE inbound_to_device (
  origin {text} NOT NULL,
  message_id {text} NOT NULL,
  received_ts {int} NOT NULL,
  PRIMARY KEY (origin, message_id)
) {strict};

CREATE INDEX inbound_to_device_by_time ON inbound_to_device (origin, received_ts);

-- By which other services learn who somebody is. Only the hash of a token is stored.
CREATE TABLE openid_tokens (
  token_hash {text} PRIMARY KEY,
  user_id {text} NOT NULL,
  expires_ts {int} NOT NULL
) {strict};

CREATE INDEX openid_tokens_by_expiry ON openid_tokens (expires_ts);
