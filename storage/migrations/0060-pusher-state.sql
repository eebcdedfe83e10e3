-- enabled: false while its user has switched it off. activated: false until an app of the kind webpush has shown, by
-- what was sent there, that it is reached; ack_hash: of the token that was sent.
-- mail_due_ts: when a letter is to be sent about what is unread by then; null while nothing is new. mail_wait_ms: how
-- long the next news wait, longer after each letter.
ALTER TABLE pushers ADD COLUMN enabled {int} NOT NULL DEFAULT 1;
ALTER TABLE pushers ADD COLUMN activated {int} NOT NULL DEFAULT 1;
ALTER TABLE pushers ADD COLUMN ack_hash {text};
ALTER TABLE pushers ADD COLUMN ack_expires_ts {int};
ALTER TABLE pushers ADD COLUMN mail_due_ts {int};
ALTER TABLE pushers ADD COLUMN mail_wait_ms {int} NOT NULL DEFAULT 0;

CREATE INDEX pushers_by_mail_due ON pushers (mail_due_ts) WHERE mail_due_ts IS NOT NULL;
