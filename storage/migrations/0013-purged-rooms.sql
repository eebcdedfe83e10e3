-- Rooms of which history was deleted: their oldest events follow such as are no more, and are not to be fetched again.
CREATE TABLE purged_rooms (
  room_nid {int} NOT NULL PRIMARY KEY,
  purged_ts {int} NOT NULL
) {strict};
