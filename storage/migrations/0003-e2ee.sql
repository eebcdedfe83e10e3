-- Device identity keys, as the device signed and uploaded them.
CREATE TABLE device_keys (
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  keys_json {text} NOT NULL,
  PRIMARY KEY (user_id, device_id)
) {strict};

-- One-time keys, handed out in the order of their upload.
CREATE TABLE one_time_keys (
  key_nid {id},
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  algorithm {text} NOT NULL,
  key_id {text} NOT NULL,
  key_json {text} NOT NULL,
  UNIQUE (user_id, device_id, algorithm, key_id)
) {strict};

CREATE TABLE fallback_keys (
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  algorithm {text} NOT NULL,
  key_id {text} NOT NULL,
  key_json {text} NOT NULL,
  used {int} NOT NULL,
  PRIMARY KEY (user_id, device_id, algorithm)
) {strict};

-- Messages to one device, kept until the device acknowledges them by its next sync.
CREATE TABLE to_device (
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  position {int} NOT NULL,
  message_json {text} NOT NULL,
  PRIMARY KEY (user_id, device_id, position)
) {strict};

-- Requests to /sendToDevice that were answered, so that a repeated one sends nothing twice.
CREATE TABLE to_device_transactions (
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  txn_id {text} NOT NULL,
  sent_ts {int} NOT NULL,
  PRIMARY KEY (user_id, device_id, txn_id)
) {strict};

-- The position of the last change of each user's devices.
CREATE TABLE device_lists (
  user_id {text} PRIMARY KEY,
  position {int} NOT NULL
) {strict};
