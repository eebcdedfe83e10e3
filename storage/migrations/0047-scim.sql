-- Users that a provider of identities keeps by SCIM, each of them an account (user_id). id is the resource's id for good;
-- user_name_key is user_name in lower case; attributes is JSON, of what has no column; active_stated is 0 where the provider
-- has taken the attribute back, which leaves the account as it was. Times are in milliseconds.
CREATE TABLE scim_users (
  user_nid {id},
  id {text} NOT NULL UNIQUE,
  user_id {text} NOT NULL UNIQUE,
  user_name {text} NOT NULL,
  user_name_key {text} NOT NULL UNIQUE,
  external_id {text} UNIQUE,
  active {int} NOT NULL,
  active_stated {int} NOT NULL,
  attributes {text} NOT NULL,
  version {int} NOT NULL,
  created_ts {int} NOT NULL,
  modified_ts {int} NOT NULL
) {strict};

CREATE TABLE scim_groups (
  group_nid {id},
  id {text} NOT NULL UNIQUE,
  display_name {text} NOT NULL,
  display_key {text} NOT NULL,
  external_id {text},
  version {int} NOT NULL,
  created_ts {int} NOT NULL,
  modified_ts {int} NOT NULL
) {strict};

CREATE INDEX scim_groups_by_name ON scim_groups (display_key);
CREATE INDEX scim_groups_by_external_id ON scim_groups (external_id);

CREATE TABLE scim_members (
  group_nid {int} NOT NULL,
  user_nid {int} NOT NULL,
  PRIMARY KEY (group_nid, user_nid)
) {strict};

CREATE INDEX scim_members_by_user ON scim_members (user_nid, group_nid);
