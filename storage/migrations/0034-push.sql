-- What a user has made of the push rules: own rules in their order, and changes of the server's default rules, as JSON.
CREATE TABLE push_rules (
  user_id {text} NOT NULL PRIMARY KEY,
  rules_json {text} NOT NULL,
  position {int} NOT NULL
) {strict};

-- Where users want to be notified. data_json: as the client gave it, with the url. delivered: the position up to which
-- its user's events were sent or passed over.
CREATE TABLE pushers (
  app_id {text} NOT NULL,
  pushkey {text} NOT NULL,
  user_id {text} NOT NULL,
  device_id {text} NOT NULL,
  kind {text} NOT NULL,
  app_display_name {text} NOT NULL,
  device_display_name {text} NOT NULL,
  profile_tag {text},
  lang {text} NOT NULL,
  data_json {text} NOT NULL,
  created_ts {int} NOT NULL,
  delivered {int} NOT NULL,
  PRIMARY KEY (app_id, pushkey, user_id)
) {strict};

CREATE INDEX pushers_by_user ON pushers (user_id, device_id);
