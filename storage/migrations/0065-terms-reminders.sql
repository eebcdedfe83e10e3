-- Whom the server has reminded of policies that they have not accepted. versions: of which ones, as JSON.
CREATE TABLE terms_reminders (
  user_id {text} NOT NULL PRIMARY KEY,
  versions {text} NOT NULL,
  reminded_ts {int} NOT NULL
) {strict};
