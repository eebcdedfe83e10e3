-- Rooms that the server is in, was in, or is invited to. row_version goes up with every write of the room's
-- graph: whoever has read an older one builds again. state_group is the current state, 0 where it is not known.
CREATE TABLE rooms (
  room_nid {id},
  room_id {text} NOT NULL UNIQUE,
  version {text} NOT NULL,
  row_version {int} NOT NULL,
  state_group {int} NOT NULL
) {strict};

-- position: where clients see it; negative for history that was fetched later; NULL for outliers, rejected and
-- soft-failed events. state_before and state_after are NULL for an event that has no place in the graph.
-- json: the PDU without unsigned, in canonical form; its redacted form once it is redacted.
CREATE TABLE events (
  event_nid {id},
  event_id {text} NOT NULL UNIQUE,
  room_nid {int} NOT NULL,
  position {int},
  depth {int} NOT NULL,
  type {text} NOT NULL,
  state_key {text},
  sender {text} NOT NULL,
  origin_server_ts {int} NOT NULL,
  received_ts {int} NOT NULL,
  status {text} NOT NULL,
  reason {text},
  state_before {int},
  state_after {int},
  redacted_by {text},
  txn_device {text},
  txn_id {text},
  json {text} NOT NULL
) {strict};

CREATE INDEX events_by_position ON events (room_nid, position);

-- Our own users' events in rooms with other servers, for whoever sends them there.
CREATE TABLE outgoing_events (
  position {int} NOT NULL PRIMARY KEY,
  room_nid {int} NOT NULL,
  event_nid {int} NOT NULL
) {strict};

-- Accepted events that no accepted event follows: what the next event of ours cites.
CREATE TABLE forward_extremities (
  room_nid {int} NOT NULL,
  event_nid {int} NOT NULL,
  PRIMARY KEY (room_nid, event_nid)
) {strict};

-- What accepted events cite and the server does not have: where older history begins.
CREATE TABLE backward_extremities (
  room_nid {int} NOT NULL,
  event_id {text} NOT NULL,
  PRIMARY KEY (room_nid, event_id)
) {strict};

CREATE TABLE current_state (
  room_nid {int} NOT NULL,
  type {text} NOT NULL,
  state_key {text} NOT NULL,
  event_nid {int} NOT NULL,
  PRIMARY KEY (room_nid, type, state_key)
) {strict};

-- How the current state changed, at which position. An event_nid of NULL: the key went.
CREATE TABLE state_deltas (
  room_nid {int} NOT NULL,
  position {int} NOT NULL,
  type {text} NOT NULL,
  state_key {text} NOT NULL,
  event_nid {int},
  prev_event_nid {int},
  PRIMARY KEY (room_nid, position, type, state_key)
) {strict};

-- The m.room.member events of the current state, and the invitations, and their rejections, of rooms that the
-- server is not in. position is that of the last change.
CREATE TABLE memberships (
  room_nid {int} NOT NULL,
  user_id {text} NOT NULL,
  membership {text} NOT NULL,
  event_nid {int} NOT NULL,
  position {int} NOT NULL,
  server_name {text} NOT NULL,
  display_name {text},
  avatar_url {text},
  forgotten {int} NOT NULL,
  PRIMARY KEY (room_nid, user_id)
) {strict};

CREATE INDEX memberships_by_user ON memberships (user_id, position);
CREATE INDEX memberships_by_server ON memberships (room_nid, membership, server_name);

-- The stripped state that came with an invitation to a room that the server is not in: a JSON array.
CREATE TABLE invites (
  room_nid {int} NOT NULL,
  user_id {text} NOT NULL,
  stripped_state {text} NOT NULL,
  PRIMARY KEY (room_nid, user_id)
) {strict};

-- Which event a client's transaction made. scope is the endpoint.
CREATE TABLE client_transactions (
  txn_id {text} NOT NULL,
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  scope {text} NOT NULL,
  event_id {text} NOT NULL,
  created_ts {int} NOT NULL,
  PRIMARY KEY (txn_id, user_id, device_id, scope)
) {strict};

-- Accepted redactions whose target has not arrived.
CREATE TABLE pending_redactions (
  event_id {text} NOT NULL,
  redaction_nid {int} NOT NULL,
  PRIMARY KEY (event_id, redaction_nid)
) {strict};
