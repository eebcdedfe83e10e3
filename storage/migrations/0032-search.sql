-- Events in the order in which the server came to know them: those of the live timeline by their own position, those
-- of history that was fetched later by a position of history_arrivals. Whoever follows all rooms reads both.
CREATE INDEX events_by_stream ON events (position) WHERE position IS NOT NULL;

CREATE TABLE history_arrivals (
  position {int} NOT NULL PRIMARY KEY,
  event_nid {int} NOT NULL
) {strict};

-- What came before there was this table is older than all that comes.
INSERT INTO history_arrivals (position, event_nid)
  SELECT e.position, e.event_nid FROM events e WHERE e.position < 0;

-- sqlite only
-- The words of messages, of names and topics of rooms, by the position of the event. Not the texts themselves.
CREATE VIRTUAL TABLE search_index USING fts5 (
  words, room, content = '', contentless_delete = 1,
  tokenize = "unicode61 remove_diacritics 0 categories 'L* N* M* Co'"
);

-- postgres only
CREATE TABLE search_index (
  position BIGINT NOT NULL PRIMARY KEY,
  words TSVECTOR NOT NULL,
  room TEXT NOT NULL
);

-- postgres only
CREATE INDEX search_index_by_words ON search_index USING GIN (words);

-- Everything that is there is to be read.
INSERT INTO cursors (name, position) VALUES ('search', -9007199254740991);
