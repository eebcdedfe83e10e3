-- The positions a process may hand out without asking again: every number up to the bound may be in use.
CREATE TABLE stream_reserve (
  id {text} NOT NULL PRIMARY KEY,
  upto {int} NOT NULL
) {strict};

INSERT INTO stream_reserve (id, upto) VALUES ('live', 0), ('history', 0);

-- How far each consumer of a stream has come.
CREATE TABLE cursors (
  name {text} NOT NULL PRIMARY KEY,
  position {int} NOT NULL
) {strict};
