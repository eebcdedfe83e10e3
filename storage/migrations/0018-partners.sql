-- Servers that the operator has agreements with. name: of one server, or of all under a suffix (*.example.org).
-- direction: both, inbound or outbound. profile: NULL where it is for us to find out. keys: pinned signing keys, as a
-- JSON object of unpadded Base64 by key id. ca: PEM certificates of the only authorities that are trusted for it; NULL
-- for the usual ones.
CREATE TABLE partners (
  name {text} NOT NULL PRIMARY KEY,
  direction {text} NOT NULL,
  profile {text},
  keys {text} NOT NULL,
  ca {text},
  note {text} NOT NULL
) {strict};

-- What servers were seen to be. software: by their version, NULL where it says nothing. versions: the room versions
-- that they said they know, as a JSON list; NULL where they did not say. refused: those that they refused since.
CREATE TABLE learned_servers (
  server {text} NOT NULL PRIMARY KEY,
  profile {text},
  software {text},
  versions {text},
  refused {text} NOT NULL,
  asked_ts {int} NOT NULL,
  learned_ts {int} NOT NULL
) {strict};

CREATE INDEX learned_servers_by_ts ON learned_servers (learned_ts);

-- Circles of servers: the access control list of a room that is bound to one is kept by us.
CREATE TABLE circles (
  name {text} NOT NULL PRIMARY KEY,
  servers {text} NOT NULL
) {strict};

CREATE TABLE circle_rooms (
  room_id {text} NOT NULL PRIMARY KEY,
  circle {text} NOT NULL
) {strict};

CREATE INDEX circle_rooms_by_circle ON circle_rooms (circle);
