-- What a user has granted and nobody has taken yet ends with the sessions of the user.
CREATE INDEX oauth_codes_by_user ON oauth_codes (user_id);
CREATE INDEX oauth_device_grants_by_user ON oauth_device_grants (user_id);
