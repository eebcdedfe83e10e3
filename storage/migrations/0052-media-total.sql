-- How much all users of ours have uploaded together, as an owner of its own in media_usage: '*'.
INSERT INTO media_usage (user_id, bytes)
  SELECT '*', COALESCE(SUM(u.bytes), 0) FROM media_usage u WHERE u.user_id <> '';
