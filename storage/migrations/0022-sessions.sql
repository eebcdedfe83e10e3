-- expires_ts: from then on the token is refused, though not forgotten; NULL: never.
-- refresh_hash: the refresh token that was given out together with it.
ALTER TABLE access_tokens ADD COLUMN expires_ts {int};
ALTER TABLE access_tokens ADD COLUMN refresh_hash {text};

CREATE INDEX access_tokens_by_refresh ON access_tokens (refresh_hash);

-- next_hash: the token that was given out for this one. spent_ts: since when that one is in use, and this one no more.
CREATE TABLE refresh_tokens (
  token_hash {text} NOT NULL PRIMARY KEY,
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  expires_ts {int},
  next_hash {text},
  spent_ts {int}
) {strict};

CREATE INDEX refresh_tokens_by_device ON refresh_tokens (user_id, device_id);
CREATE INDEX refresh_tokens_by_next ON refresh_tokens (next_hash);

-- By which a user who is signed in signs another device in. Each is good for one.
CREATE TABLE login_tokens (
  token_hash {text} NOT NULL PRIMARY KEY,
  user_id {text} NOT NULL,
  expires_ts {int} NOT NULL
) {strict};

CREATE INDEX login_tokens_by_expiry ON login_tokens (expires_ts);
CREATE INDEX login_tokens_by_user ON login_tokens (user_id);
CREATE INDEX openid_tokens_by_user ON openid_tokens (user_id);

ALTER TABLE devices ADD COLUMN last_seen_user_agent {text};

-- Since when a user is locked or suspended; NULL: not.
ALTER TABLE users ADD COLUMN is_guest {int} NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN locked_ts {int};
ALTER TABLE users ADD COLUMN suspended_ts {int};
-- 1 for a user whom the rate limits spare.
ALTER TABLE users ADD COLUMN is_unlimited {int} NOT NULL DEFAULT 0;

CREATE INDEX users_guests ON users (user_id) WHERE is_guest = 1;
