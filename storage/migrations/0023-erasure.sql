-- Users who asked for it when they deactivated their account: who came to a room after position is not shown what they
-- wrote there.
CREATE TABLE erased_users (
  user_id {text} NOT NULL PRIMARY KEY,
  position {int} NOT NULL
) {strict};
