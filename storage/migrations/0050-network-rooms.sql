-- Rooms that application services publish in the directories of the networks that they bridge. network: the id of the
-- service and that of the network, as clients name it.
CREATE TABLE network_rooms (
  network {text} NOT NULL,
  room_nid {int} NOT NULL,
  PRIMARY KEY (network, room_nid)
) {strict};

CREATE INDEX network_rooms_by_room ON network_rooms (room_nid);
