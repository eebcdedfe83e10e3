-- What was found at addresses of the web, for a day. url_sha256: of the address, in lower-case hex. preview: the JSON
-- object that clients get, without the picture. media_id: the picture, one of our own media that nobody uploaded; picture:
-- what is said of it, a JSON object. Times are in milliseconds since 1970.
CREATE TABLE url_previews (
  url_sha256 {text} NOT NULL PRIMARY KEY,
  preview {text} NOT NULL,
  media_id {text},
  picture {text},
  created_ts {int} NOT NULL
) {strict};

CREATE INDEX url_previews_by_age ON url_previews (created_ts, url_sha256);
