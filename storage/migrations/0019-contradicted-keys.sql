-- Keys that a server published in place of others that it had before under the same ids and that were still valid: they
-- are not believed. keys: [[key id, public key], ...]. noted_ts: when they were seen first. The row goes when a document
-- of the server is believed again.
CREATE TABLE contradicted_keys (
  server {text} NOT NULL PRIMARY KEY,
  keys {text} NOT NULL,
  noted_ts {int} NOT NULL
) {strict};
