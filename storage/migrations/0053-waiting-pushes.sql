-- What users are to be told of by their pushers, until all of these have taken it or it is too old. actions_json: of the
-- push rule that it matched.
CREATE TABLE waiting_pushes (
  user_id {text} NOT NULL,
  position {int} NOT NULL,
  event_nid {int} NOT NULL,
  actions_json {text} NOT NULL,
  PRIMARY KEY (user_id, position)
) {strict};
