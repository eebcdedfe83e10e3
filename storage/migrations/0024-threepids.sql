-- Addresses by which users are reached, and by which they may recover their accounts. address: in canonical form.
-- validated_ts: when somebody proved that it is theirs; added_ts: when it was added to the account.
CREATE TABLE user_threepids (
  medium {text} NOT NULL,
  address {text} NOT NULL,
  user_id {text} NOT NULL,
  validated_ts {int} NOT NULL,
  added_ts {int} NOT NULL,
  PRIMARY KEY (medium, address)
) {strict};

CREATE INDEX user_threepids_by_user ON user_threepids (user_id);

-- Proofs under way that an e-mail address is somebody's: a letter with a token was sent there. Tokens and secrets are
-- stored as hashes. purpose: what the proof is good for, 'register', 'password' or 'add'. send_attempt: of the last letter
-- that was sent, 0 for none yet. validated_ts: when the token came back. The row goes when the proof is used.
CREATE TABLE email_validations (
  sid {text} NOT NULL PRIMARY KEY,
  purpose {text} NOT NULL,
  address {text} NOT NULL,
  client_secret_hash {text} NOT NULL,
  token_hash {text} NOT NULL,
  next_link {text},
  send_attempt {int} NOT NULL,
  validated_ts {int},
  expires_ts {int} NOT NULL,
  UNIQUE (address, purpose, client_secret_hash)
) {strict};

CREATE INDEX email_validations_by_end ON email_validations (expires_ts);

-- The versions of policies that users accepted when they registered.
CREATE TABLE accepted_policies (
  user_id {text} NOT NULL,
  policy_id {text} NOT NULL,
  version {text} NOT NULL,
  accepted_ts {int} NOT NULL,
  PRIMARY KEY (user_id, policy_id, version)
) {strict};
