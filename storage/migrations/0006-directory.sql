-- Room aliases of this server. room_id is '' while a room is being made under the alias.
CREATE TABLE aliases (
  alias {text} NOT NULL PRIMARY KEY,
  room_id {text} NOT NULL,
  creator {text} NOT NULL,
  created_ts {int} NOT NULL
) {strict};

CREATE INDEX aliases_by_room ON aliases (room_id, alias);

-- Rooms in this server's published directory.
CREATE TABLE published_rooms (
  room_nid {int} NOT NULL PRIMARY KEY,
  published_ts {int} NOT NULL
) {strict};
