-- The position at which the user ceased to be joined for the last time; 0 where the user never was. From now on
-- joined_position is moved by joins alone.
ALTER TABLE memberships ADD COLUMN left_position {int} NOT NULL DEFAULT 0;
UPDATE memberships SET left_position = position WHERE membership IN ('leave', 'ban');

-- Who came to share rooms, and ceased to, is looked for from a position on.
CREATE INDEX memberships_by_join ON memberships (joined_position);
CREATE INDEX memberships_by_leave ON memberships (left_position) WHERE left_position > 0;

-- Devices that are kept here, encrypted, to take in keys of rooms while their users are signed in nowhere.
CREATE TABLE dehydrated_devices (
  user_id {text} PRIMARY KEY,
  device_id {text} NOT NULL,
  device_data_json {text} NOT NULL
) {strict};
