-- The account in whose name the server speaks to its users: one, made for that, so that nobody else's is taken for it.
CREATE TABLE notice_senders (
  user_id {text} NOT NULL PRIMARY KEY
) {strict};

-- The one room of each user in which it does.
CREATE TABLE notice_rooms (
  user_id {text} NOT NULL PRIMARY KEY,
  room_id {text} NOT NULL
) {strict};
