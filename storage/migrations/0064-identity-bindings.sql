-- Addresses that an identity server knows as a user's, by our word: they are taken back when the user wants that, or goes.
CREATE TABLE identity_bindings (
  user_id {text} NOT NULL,
  medium {text} NOT NULL,
  address {text} NOT NULL,
  id_server {text} NOT NULL,
  bound_ts {int} NOT NULL,
  PRIMARY KEY (user_id, medium, address, id_server)
) {strict};
