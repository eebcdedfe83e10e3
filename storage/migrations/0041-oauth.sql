-- Programs that have registered to sign users in by OAuth 2.0. metadata: what they say of themselves, as JSON.
-- used_ts: when one last registered or was used to sign in, to a day. Times in milliseconds since 1970.
CREATE TABLE oauth_clients (
  client_id {text} NOT NULL PRIMARY KEY,
  metadata {text} NOT NULL,
  used_ts {int} NOT NULL
) {strict};

CREATE INDEX oauth_clients_by_use ON oauth_clients (used_ts);

-- The devices that are signed in by OAuth 2.0. code_hash: the authorisation code that they were given for, if it was one.
CREATE TABLE oauth_sessions (
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  client_id {text} NOT NULL,
  scope {text} NOT NULL,
  created_ts {int} NOT NULL,
  code_hash {text},
  PRIMARY KEY (user_id, device_id)
) {strict};

CREATE INDEX oauth_sessions_by_client ON oauth_sessions (client_id);

-- What users have granted, until the client takes it. A code that was taken is kept, so that it is known when it comes
-- again. provider, subject, sid: as in browser_sessions.
CREATE TABLE oauth_codes (
  code_hash {text} NOT NULL PRIMARY KEY,
  client_id {text} NOT NULL,
  user_id {text} NOT NULL,
  scope {text} NOT NULL,
  redirect_uri {text} NOT NULL,
  code_challenge {text} NOT NULL,
  expires_ts {int} NOT NULL,
  used_ts {int},
  provider {text},
  subject {text},
  sid {text}
) {strict};

CREATE INDEX oauth_codes_by_expiry ON oauth_codes (expires_ts);

-- Devices that wait until somebody signs them in on another one. address: where the request came from.
-- decided_ts: since when somebody has; user_id: who has granted it, NULL where it was denied.
CREATE TABLE oauth_device_grants (
  device_code_hash {text} NOT NULL PRIMARY KEY,
  user_code_hash {text} NOT NULL UNIQUE,
  client_id {text} NOT NULL,
  scope {text} NOT NULL,
  address {text} NOT NULL,
  expires_ts {int} NOT NULL,
  decided_ts {int},
  user_id {text},
  provider {text},
  subject {text},
  sid {text}
) {strict};

CREATE INDEX oauth_device_grants_by_expiry ON oauth_device_grants (expires_ts);
