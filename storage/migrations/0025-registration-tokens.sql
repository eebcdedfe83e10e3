-- Tokens that admit any number of accounts (uses_left NULL) or never end (expires_ts NULL), how often each was used, and
-- what it is for.
ALTER TABLE registration_tokens RENAME TO registration_tokens_before;

CREATE TABLE registration_tokens (
  token_hash {text} NOT NULL PRIMARY KEY,
  uses_left {int},
  used {int} NOT NULL,
  created_ts {int} NOT NULL,
  expires_ts {int},
  note {text} NOT NULL
) {strict};

INSERT INTO registration_tokens (token_hash, uses_left, used, created_ts, expires_ts, note)
  SELECT token_hash, uses_left, 0, created_ts, expires_ts, '' FROM registration_tokens_before;

DROP TABLE registration_tokens_before;
