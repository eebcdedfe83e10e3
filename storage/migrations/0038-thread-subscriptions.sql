-- Threads that users follow, and those that they follow no more, which their devices are still to be told.
-- unsubscribed_position: when they last said so, or 0.
CREATE TABLE thread_subscriptions (
  user_id {text} NOT NULL,
  room_nid {int} NOT NULL,
  root_id {text} NOT NULL,
  position {int} NOT NULL,
  subscribed {int} NOT NULL,
  automatic {int} NOT NULL,
  unsubscribed_position {int} NOT NULL,
  PRIMARY KEY (user_id, room_nid, root_id)
) {strict};

CREATE INDEX thread_subscriptions_by_position ON thread_subscriptions (user_id, position);
CREATE INDEX thread_subscriptions_by_room ON thread_subscriptions (room_nid);
