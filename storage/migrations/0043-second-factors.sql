-- Second factors of those who sign in by password. Times in milliseconds since 1970.

-- The secret of an app that shows codes, sealed. confirmed_ts: NULL until the person has shown a code of it. last_step:
-- the time step of the last code that was accepted, since each is good once.
CREATE TABLE totp_secrets (
  user_id {text} NOT NULL PRIMARY KEY,
  sealed_secret {text} NOT NULL,
  created_ts {int} NOT NULL,
  confirmed_ts {int},
  last_step {int} NOT NULL
) {strict};

-- Codes for those who have lost the rest: hashes, each good once.
CREATE TABLE recovery_codes (
  user_id {text} NOT NULL,
  code_hash {text} NOT NULL,
  PRIMARY KEY (user_id, code_hash)
) {strict};

-- Passkeys (WebAuthn credentials). public_key: COSE, in URL-safe Base64. transports: divided by commas.
CREATE TABLE passkeys (
  credential_id {text} NOT NULL PRIMARY KEY,
  user_id {text} NOT NULL,
  public_key {text} NOT NULL,
  counter {int} NOT NULL,
  transports {text} NOT NULL,
  name {text} NOT NULL,
  created_ts {int} NOT NULL,
  used_ts {int}
) {strict};

CREATE INDEX passkeys_by_user ON passkeys (user_id, created_ts);
