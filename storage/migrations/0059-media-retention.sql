-- protected_ts: since when the operator keeps a media, whatever the options say; NULL for all others.
ALTER TABLE media ADD COLUMN protected_ts {int};

CREATE INDEX media_own_by_access ON media (accessed_ts, media_nid) WHERE user_id IS NOT NULL AND sha256 IS NOT NULL;
CREATE INDEX media_own ON media (media_nid, created_ts) WHERE user_id IS NOT NULL AND sha256 IS NOT NULL;
CREATE INDEX media_by_user ON media (user_id, media_nid) WHERE user_id IS NOT NULL AND sha256 IS NOT NULL;
CREATE INDEX profile_avatars ON profile_fields (value_json) WHERE field = 'avatar_url';
