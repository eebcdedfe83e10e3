-- Until when (milliseconds since 1970) a user may replace their cross-signing keys without more: they have allowed it on
-- the page of their account.
CREATE TABLE cross_signing_resets (
  user_id {text} NOT NULL PRIMARY KEY,
  until_ts {int} NOT NULL
) {strict};

-- The languages that users have chosen for pages and letters, such as "sv".
CREATE TABLE user_languages (
  user_id {text} NOT NULL PRIMARY KEY,
  language {text} NOT NULL
) {strict};
