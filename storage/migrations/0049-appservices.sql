-- Application services that the operator has added by command. registration: the file as it was given. policy_json: what
-- the operator allows it besides.
CREATE TABLE appservices (
  appservice_id {text} NOT NULL PRIMARY KEY,
  registration {text} NOT NULL,
  policy_json {text} NOT NULL,
  added_ts {int} NOT NULL
) {strict};

-- The one transaction that each service is being sent, word for word, until it has taken it.
CREATE TABLE appservice_transactions (
  appservice_id {text} NOT NULL PRIMARY KEY,
  txn_id {text} NOT NULL,
  body {text} NOT NULL,
  created_ts {int} NOT NULL
) {strict};

-- By which a service is sent the messages to the devices of its users.
CREATE INDEX to_device_by_position ON to_device (position);
