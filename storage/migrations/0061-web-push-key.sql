-- The key by which push services know this server (VAPID, RFC 8292): one row, named vapid. private_key: PKCS#8 as PEM.
CREATE TABLE web_push_keys (
  name {text} NOT NULL PRIMARY KEY,
  private_key {text} NOT NULL
) {strict};
