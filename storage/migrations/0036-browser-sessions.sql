-- Who is signed in in a browser, on the server's own pages. Times in milliseconds since 1970. auth_ts: when the person
-- last proved who they are; factor_ts: when with a second factor, NULL: not. provider, subject, sid: the identity
-- provider's name here, its id for the user and for its own session; NULL where the person gave a password.
CREATE TABLE browser_sessions (
  token_hash {text} NOT NULL PRIMARY KEY,
  user_id {text} NOT NULL,
  created_ts {int} NOT NULL,
  auth_ts {int} NOT NULL,
  factor_ts {int},
  expires_ts {int} NOT NULL,
  provider {text},
  subject {text},
  sid {text}
) {strict};

CREATE INDEX browser_sessions_by_user ON browser_sessions (user_id);
CREATE INDEX browser_sessions_by_expiry ON browser_sessions (expires_ts);
CREATE INDEX browser_sessions_by_origin ON browser_sessions (provider, subject);

-- The devices that were signed in after an identity provider had said who the person is: they end with its session.
CREATE TABLE device_origins (
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  provider {text} NOT NULL,
  subject {text} NOT NULL,
  sid {text},
  PRIMARY KEY (user_id, device_id)
) {strict};

CREATE INDEX device_origins_by_origin ON device_origins (provider, subject);
