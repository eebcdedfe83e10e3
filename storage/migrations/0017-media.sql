-- Media by their mxc:// URIs: what users of ours uploaded (user_id is the uploader), and what is kept of other servers
-- (user_id is NULL). sha256 names the file that holds the bytes; NULL while a reserved one is not uploaded, and for one
-- of another server that was quarantined unseen. expires_ts: until when a reserved one may be uploaded; NULL for
-- others. quarantined_ts: since when nobody gets it; NULL for all others. Times are in milliseconds since 1970.
CREATE TABLE media (
  media_nid {id},
  server_name {text} NOT NULL,
  media_id {text} NOT NULL,
  user_id {text},
  sha256 {text},
  size {int} NOT NULL DEFAULT 0,
  content_type {text} NOT NULL DEFAULT '',
  upload_name {text},
  created_ts {int} NOT NULL,
  expires_ts {int},
  accessed_ts {int} NOT NULL,
  quarantined_ts {int},
  UNIQUE (server_name, media_id)
) {strict};

CREATE INDEX media_by_sha256 ON media (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX media_reserved ON media (expires_ts) WHERE expires_ts IS NOT NULL;
CREATE INDEX media_reserved_by_user ON media (user_id, expires_ts) WHERE expires_ts IS NOT NULL;
CREATE INDEX media_remote_by_access ON media (accessed_ts, media_nid) WHERE user_id IS NULL AND sha256 IS NOT NULL;

-- How many bytes a user of ours has uploaded; '' for what is kept of other servers.
CREATE TABLE media_usage (
  user_id {text} NOT NULL PRIMARY KEY,
  bytes {int} NOT NULL
) {strict};

-- Thumbnails by the file that they were made of. variant: size and method, such as 320x240-scale.
CREATE TABLE thumbnails (
  source_sha256 {text} NOT NULL,
  variant {text} NOT NULL,
  sha256 {text} NOT NULL,
  size {int} NOT NULL,
  content_type {text} NOT NULL,
  PRIMARY KEY (source_sha256, variant)
) {strict};

CREATE INDEX thumbnails_by_sha256 ON thumbnails (sha256);
