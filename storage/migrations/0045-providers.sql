-- Who signs in by an identity provider or a directory, and with which account. issuer: who vouches (the issuer of OpenID
-- Connect, or "ldap"); subject: the permanent id there, which is never a name; sub: what the issuer calls them in a
-- logout token, where that is not the subject. Times in milliseconds since 1970.
CREATE TABLE provider_links (
  issuer {text} NOT NULL,
  subject {text} NOT NULL,
  user_id {text} NOT NULL,
  sub {text} NOT NULL,
  created_ts {int} NOT NULL,
  used_ts {int},
  PRIMARY KEY (issuer, subject)
) {strict};

CREATE INDEX provider_links_by_user ON provider_links (user_id);
CREATE INDEX provider_links_by_sub ON provider_links (issuer, sub);

-- Refresh tokens of providers, sealed: by them it is asked whether somebody still has a session there.
CREATE TABLE provider_tokens (
  provider {text} NOT NULL,
  subject {text} NOT NULL,
  sealed_token {text} NOT NULL,
  checked_ts {int} NOT NULL,
  PRIMARY KEY (provider, subject)
) {strict};

CREATE INDEX provider_tokens_by_check ON provider_tokens (provider, checked_ts);

-- What has ended at a provider: the ids of logout tokens ("jti"), which are good once, and of sessions ("sid") which
-- somebody may be about to begin here all the same.
CREATE TABLE provider_ended (
  provider {text} NOT NULL,
  kind {text} NOT NULL,
  id {text} NOT NULL,
  expires_ts {int} NOT NULL,
  PRIMARY KEY (provider, kind, id)
) {strict};

CREATE INDEX provider_ended_by_expiry ON provider_ended (expires_ts);

-- The session of the provider that a login token stands for; NULL where a password was given.
ALTER TABLE login_tokens ADD COLUMN provider {text};
ALTER TABLE login_tokens ADD COLUMN subject {text};
ALTER TABLE login_tokens ADD COLUMN sid {text};

CREATE INDEX login_tokens_by_sid ON login_tokens (provider, sid);
CREATE INDEX browser_sessions_by_sid ON browser_sessions (provider, sid);
CREATE INDEX device_origins_by_sid ON device_origins (provider, sid);
