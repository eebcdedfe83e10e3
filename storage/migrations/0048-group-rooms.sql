-- Groups whose members are in a room; power: the level that they get there at least; with_children: in the rooms of the
-- space too.
CREATE TABLE group_bindings (
  group_id {text} NOT NULL,
  room_id {text} NOT NULL,
  power {int},
  with_children {int} NOT NULL,
  PRIMARY KEY (group_id, room_id)
) {strict};

-- The rooms that a binding comes to: the bound one, and those of the space.
CREATE TABLE group_targets (
  room_id {text} NOT NULL,
  group_id {text} NOT NULL,
  bound_room_id {text} NOT NULL,
  PRIMARY KEY (room_id, group_id, bound_room_id)
) {strict};

CREATE INDEX group_targets_by_group ON group_targets (group_id, bound_room_id);

-- Who was brought into a room for a group, and with which level.
CREATE TABLE group_holds (
  room_id {text} NOT NULL,
  user_id {text} NOT NULL,
  power {int},
  PRIMARY KEY (room_id, user_id)
) {strict};

-- Rooms that are to be looked at. generation: moves on with every change. problem: why it could not be done.
CREATE TABLE group_work (
  room_id {text} NOT NULL PRIMARY KEY,
  due_ts {int} NOT NULL,
  generation {int} NOT NULL,
  failures {int} NOT NULL,
  problem {text}
) {strict};

CREATE INDEX group_work_due ON group_work (due_ts, room_id);
