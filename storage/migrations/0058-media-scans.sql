-- What the scanner for malware says of files, by their hash. verdict: clean or infected; or allowed, by the operator,
-- whatever the scanner says. signature: what it found, NULL where that is nothing. version: of the signatures that it
-- knew then; another one is a reason to ask again. scanned_ts: in milliseconds since 1970.
CREATE TABLE media_scans (
  sha256 {text} NOT NULL PRIMARY KEY,
  verdict {text} NOT NULL,
  signature {text},
  version {text} NOT NULL,
  scanned_ts {int} NOT NULL
) {strict};
