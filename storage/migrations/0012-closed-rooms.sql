-- Rooms that no user of this server may join or be invited to, by the operator's word.
CREATE TABLE blocked_rooms (
  room_id {text} NOT NULL PRIMARY KEY,
  blocked_ts {int} NOT NULL
) {strict};

-- What is being deleted, batch by batch; a row goes when all is done. upto: events before this position go; NULL: the
-- whole room goes. sent_before: of history that was fetched later, only what was sent before this time; NULL: all.
-- received_before: of events without a position, those received before. deleted: events that have gone so far.
CREATE TABLE purges (
  room_nid {int} NOT NULL PRIMARY KEY,
  upto {int},
  sent_before {int},
  received_before {int} NOT NULL,
  begun_ts {int} NOT NULL,
  deleted {int} NOT NULL
) {strict};
