-- sqlite only
-- Words by which users are found: those of their ids and, of our own users, of the names of their profiles; of others
-- those of the names that they have in rooms, which not everybody may know: whoever finds one must compare again.
CREATE TABLE directory_words (
  user_id TEXT NOT NULL,
  word TEXT NOT NULL,
  PRIMARY KEY (user_id, word)
) STRICT, WITHOUT ROWID;

-- postgres only
CREATE TABLE directory_words (
  user_id TEXT NOT NULL,
  word TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (user_id, word)
);

CREATE INDEX directory_words_by_word ON directory_words (word, user_id);

-- Rooms that everybody may enter (the join rule public), or read (the history visibility world_readable).
CREATE TABLE open_rooms (
  room_nid {int} NOT NULL,
  reason {text} NOT NULL,
  PRIMARY KEY (room_nid, reason)
) {strict};

-- What is there is to be read.
INSERT INTO cursors (name, position) VALUES ('user_directory', -9007199254740991);
